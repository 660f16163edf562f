//! Pages of `docs/reference` that are made from code: compared by a test of the package that
//! declares what they show, written when `PINNACE_GENERATE=1`.

use clap::Command;
use std::path::Path;

/// Compares `docs/reference/NAME` with `text`, or writes it.
///
/// # Panics
/// When the page is old, with what to run.
pub fn check_page(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference").join(name);
    if may_write() {
        std::fs::write(&path, text).expect("the checkout can be written");
        return;
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == text, "docs/reference/{name} is old: run cargo xtask generate");
}

#[expect(clippy::disallowed_methods, reason = "the only argument that a test program can get")]
fn may_write() -> bool {
    std::env::var("PINNACE_GENERATE").is_ok_and(|value| value == "1")
}

/// The page of a program's flags: a table per command.
#[must_use]
pub fn flags_page(mut command: Command) -> String {
    command.build();
    let name = command.get_name().to_owned();
    let mut text = format!(
        "# Flags of {name}\n\nGenerated from the program's own definitions by `cargo xtask generate`. A flag with a variable can be given as either.\n"
    );
    section(&mut text, &name, &command);
    text
}

fn section(text: &mut String, name: &str, command: &Command) {
    text.push_str(&format!("\n## {name}\n\n{}\n", line(command.get_about())));
    let mut rows = String::new();
    for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
        let id = argument.get_id().as_str();
        if id == "help" || id == "version" {
            continue;
        }
        let flag = argument.get_long().map_or_else(|| id.to_uppercase(), |long| format!("--{long}"));
        let variable = argument.get_env().map(|name| format!("`{}`", name.to_string_lossy()));
        let defaults: Vec<_> =
            argument.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
        let default = if defaults.is_empty() { String::new() } else { format!("`{}`", defaults.join(" ")) };
        let meaning = line(argument.get_help());
        rows.push_str(&format!("| `{flag}` | {} | {default} | {meaning} |\n", variable.unwrap_or_default()));
    }
    if !rows.is_empty() {
        text.push_str(&format!("\n| Flag | Variable | Default | Meaning |\n|---|---|---|---|\n{rows}"));
    }
    let shown = |inner: &&Command| !inner.is_hide_set() && inner.get_name() != "help";
    for inner in command.get_subcommands().filter(shown) {
        section(text, &format!("{name} {}", inner.get_name()), inner);
    }
}

/// Help as one line of a table.
fn line(help: Option<&clap::builder::StyledStr>) -> String {
    help.map(|help| help.to_string().replace('\n', " ").replace('|', "\\|")).unwrap_or_default()
}
