//! Starting cargo from a program that cargo has started.

use std::process::Command;

/// What cargo sets for a program that it runs, and what build scripts of dependencies (ring's) look at: with other values
/// than from a shell, they and all that is built upon them would be built again, and then again from the shell.
const SET_BY_CARGO: [&str; 17] = [
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_PATH",
    "CARGO_MANIFEST_LINKS",
    "CARGO_PKG_AUTHORS",
    "CARGO_PKG_DESCRIPTION",
    "CARGO_PKG_HOMEPAGE",
    "CARGO_PKG_LICENSE",
    "CARGO_PKG_LICENSE_FILE",
    "CARGO_PKG_NAME",
    "CARGO_PKG_README",
    "CARGO_PKG_REPOSITORY",
    "CARGO_PKG_RUST_VERSION",
    "CARGO_PKG_VERSION",
    "CARGO_PKG_VERSION_MAJOR",
    "CARGO_PKG_VERSION_MINOR",
    "CARGO_PKG_VERSION_PATCH",
    "CARGO_PKG_VERSION_PRE",
];

/// The command starts as it would from a shell.
pub fn as_from_a_shell(command: &mut Command) -> &mut Command {
    for name in SET_BY_CARGO {
        command.env_remove(name);
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: nothing that cargo says of this very test's package is left for a program that it starts.
    #[test]
    fn nothing_of_a_package_is_left() {
        let output = as_from_a_shell(&mut Command::new("env")).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let left = |line: &&str| line.starts_with("CARGO_PKG_") || line.starts_with("CARGO_MANIFEST_");
        assert_eq!(text.lines().find(left), None);
    }
}
