//! The files of an image, put into a folder: users, a writable /tmp, programs with the libraries
//! they need, and the two small images that are made of busybox alone.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::USER;
use super::oci::Start;
use crate::cluster::install_packages;
use crate::{cache, tools};

/// What changes when this file makes the busybox images differently.
const BUSYBOX_RECIPE: &str = "1";
/// The shell commands that are found in a tools image too, when no package brings them.
const SHELL: &[&str] = &["sh", "cat", "echo", "ls", "sleep", "test", "env", "grep", "kill", "nc"];

/// A hash of what the busybox images are made from.
pub(crate) fn busybox_key() -> Result<String> {
    let busybox = find_busybox()?;
    let content = fs::read(&busybox).with_context(|| format!("cannot read {}", busybox.display()))?;
    Ok(cache::key([("recipe", BUSYBOX_RECIPE.as_bytes()), ("busybox", &content)]))
}

/// The image under every pod: it holds the pod's namespaces and buries lost children.
pub(crate) fn pause(files: &Path) -> Result<Start> {
    base(files)?;
    add_busybox(files, &["sh", "sleep"])?;
    Ok(Start::program(["/bin/sh", "-c", "trap '' CHLD; exec sleep 2147483647"]))
}

/// A shell with all that busybox has.
pub(crate) fn busybox(files: &Path) -> Result<Start> {
    base(files)?;
    let list = tools::output(&mut tools::command(find_busybox()?, ["--list"]))?;
    add_busybox(files, &list.lines().collect::<Vec<_>>())?;
    Ok(Start::program(["/bin/sh"]))
}

/// Adds the usual shell commands to an image that has none of its own.
pub(crate) fn add_shell(files: &Path) -> Result<()> {
    add_busybox(files, SHELL)
}

fn add_busybox(files: &Path, applets: &[&str]) -> Result<()> {
    let bin = files.join("bin");
    fs::create_dir_all(&bin).context("cannot make /bin")?;
    copy(&find_busybox()?, &bin.join("busybox"))?;
    for applet in applets.iter().filter(|applet| **applet != "busybox") {
        if !bin.join(applet).exists() && !files.join("usr/bin").join(applet).exists() {
            symlink("busybox", bin.join(applet)).with_context(|| format!("cannot link /bin/{applet}"))?;
        }
    }
    Ok(())
}

fn find_busybox() -> Result<PathBuf> {
    if tools::which("busybox").is_none() {
        install_packages(&["busybox-static"])?;
    }
    tools::which("busybox").context("the package busybox-static brings no busybox")
}

/// Users, groups, how names are looked up, and a /tmp that everybody may write to.
pub(crate) fn base(files: &Path) -> Result<()> {
    let etc = files.join("etc");
    let tmp = files.join("tmp");
    fs::create_dir_all(&etc)?;
    fs::create_dir_all(&tmp)?;
    fs::set_permissions(&tmp, fs::Permissions::from_mode(0o1777))?;
    let users = format!("root:x:0:0:root:/root:/bin/sh\nnonroot:x:{USER}:{USER}:nonroot:/tmp:/bin/sh\n");
    fs::write(etc.join("passwd"), users)?;
    fs::write(etc.join("group"), format!("root:x:0:\nnonroot:x:{USER}:\n"))?;
    fs::write(etc.join("nsswitch.conf"), "hosts: files dns\n")?;
    Ok(())
}

/// Copies a program to `/usr/bin`, and the libraries that it is linked with to where it looks.
pub(crate) fn add_program(files: &Path, program: &Path) -> Result<()> {
    let bin = files.join("usr/bin");
    fs::create_dir_all(&bin).context("cannot make /usr/bin")?;
    let name = program.file_name().context("a program has a name")?;
    copy(program, &bin.join(name))?;
    add_libraries(files, &libraries(program)?)
}

/// Copies libraries to where programs look for them.
pub(crate) fn add_libraries(files: &Path, libraries: &BTreeSet<PathBuf>) -> Result<()> {
    for library in libraries {
        let inside = library.strip_prefix("/").context("ldd names whole paths")?;
        let place = files.join(inside);
        fs::create_dir_all(place.parent().context("a library lies in a folder")?)?;
        copy(library, &place)?;
    }
    Ok(())
}

/// The libraries that a program is linked with, by the path where the program looks for them.
pub(crate) fn libraries(program: &Path) -> Result<BTreeSet<PathBuf>> {
    libraries_beside(program, "")
}

/// The same for a program that finds libraries in folders of its own, which a colon parts.
pub(crate) fn libraries_beside(program: &Path, folders: &str) -> Result<BTreeSet<PathBuf>> {
    let mut command = tools::command("ldd", [""; 0]);
    if !folders.is_empty() {
        command.env("LD_LIBRARY_PATH", folders);
    }
    let text = tools::output(command.arg(program))
        .with_context(|| format!("cannot list the libraries of {}", program.display()))?;
    parse_ldd(&text).with_context(|| format!("a library of {} is missing on this machine", program.display()))
}

/// `name => path (address)`, `path (address)`, or `name (address)` for what the kernel brings.
fn parse_ldd(text: &str) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    for line in text.lines().map(str::trim) {
        if line.ends_with("not found") {
            anyhow::bail!("{line}");
        }
        let place = line.split_once("=> ").map_or(line, |(_, place)| place);
        if let Some((path, _)) = place.split_once(" (")
            && path.starts_with('/')
        {
            found.insert(PathBuf::from(path));
        }
    }
    Ok(found)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot make {} executable", to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: all files that a program needs are found in what ldd prints, the kernel's own page
    /// is no file, and a missing library is an error that names it.
    #[test]
    fn ldd_is_read_line_by_line() {
        let text = "\tlinux-vdso.so.1 (0x00007ffc)\n\
             \tlibgcc_s.so.1 => /lib/x86_64-linux-gnu/libgcc_s.so.1 (0x00007f00)\n\
             \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f01)\n\
             \t/lib64/ld-linux-x86-64.so.2 (0x00007f02)\n";
        let found: Vec<_> = parse_ldd(text).unwrap().into_iter().collect();
        assert_eq!(
            found,
            [
                Path::new("/lib/x86_64-linux-gnu/libc.so.6"),
                Path::new("/lib/x86_64-linux-gnu/libgcc_s.so.1"),
                Path::new("/lib64/ld-linux-x86-64.so.2"),
            ]
        );
        assert!(parse_ldd("\tstatically linked\n").unwrap().is_empty());
        let missing = parse_ldd("\tlibzmq.so.5 => not found\n").unwrap_err();
        assert!(missing.to_string().contains("libzmq.so.5"));
    }
}
