//! Tells whoever started the process which ports it really got.

use std::io::Write as _;
use std::path::Path;

/// Writes `contents` beside `path` and renames it there, so that a reader sees all or nothing.
///
/// # Errors
/// When the folder is missing, full or read-only.
pub fn write(path: &Path, contents: &str) -> std::io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let mut file = std::fs::File::create(&name)?;
    file.write_all(contents.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&name, path)
}
