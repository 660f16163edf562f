//! `pinnace` on the search path of apps is this very executable, also inside a shell script.

use super::folder::FolderError;
use std::path::Path;

/// Puts a link into `folder` and the folder in front of `search_path`.
pub(crate) fn search_path(
    folder: &Path,
    program: &Path,
    search_path: Option<&str>,
) -> Result<String, FolderError> {
    let link = folder.join("pinnace");
    std::os::unix::fs::symlink(program, &link).map_err(|source| FolderError::Write { path: link, source })?;
    Ok(format!("{}:{}", folder.display(), search_path.unwrap_or("/usr/local/bin:/usr/bin:/bin")))
}
