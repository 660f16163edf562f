//! The line of a field in a document, for problems that validation finds after parsing. Block style
//! only; what it cannot follow is reported at the nearest parent it found.

use super::documents::Document;

/// The line of `path` (`spec.delivery.overflow`, `spec.config[a.b]`) in the file.
pub(super) fn line_of(document: Document<'_>, path: &str) -> usize {
    let lines: Vec<&str> = document.text.split('\n').collect();
    let (mut from, mut parent_indent, mut found) = (0, None, 0);
    for part in parts(path) {
        let Some((at, indent)) = find(&lines, from, parent_indent, &part) else { break };
        (from, parent_indent, found) = (at + 1, Some(indent), at);
    }
    document.line + found
}

fn parts(path: &str) -> Vec<String> {
    let mut parts = Vec::new();
    for (at, piece) in path.split('[').enumerate() {
        match piece.split_once(']') {
            Some((inner, rest)) if at > 0 => {
                parts.push(inner.to_owned());
                parts.extend(rest.split('.').filter(|part| !part.is_empty()).map(str::to_owned));
            }
            _ => parts.extend(piece.split('.').filter(|part| !part.is_empty()).map(str::to_owned)),
        }
    }
    parts
}

/// The next line that has `key`, deeper than the parent and before its block ends.
fn find(lines: &[&str], from: usize, parent: Option<usize>, key: &str) -> Option<(usize, usize)> {
    let mut level = None;
    for (at, line) in lines.iter().enumerate().skip(from) {
        let content = line.trim_start();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let indent = line.len() - content.len();
        if parent.is_some_and(|parent| indent <= parent) {
            return None;
        }
        let level = *level.get_or_insert(indent);
        let bare = content.trim_start_matches("- ").trim_start_matches(['"', '\'']);
        let named = bare
            .strip_prefix(key)
            .is_some_and(|rest| rest.trim_start_matches(['"', '\'']).trim_start().starts_with(':'));
        if indent == level && named {
            return Some((at, indent));
        }
    }
    None
}
