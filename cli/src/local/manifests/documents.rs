//! One file → its YAML documents with the lines they start at, and one document → a typed object or
//! where it is wrong. Documents are parsed one by one, so that a bad one spoils no other.

use serde::de::DeserializeOwned;

/// A document of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Document<'a> {
    /// The line of the file, from 1, where it starts.
    pub(super) line: usize,
    pub(super) text: &'a str,
}

/// Splits at lines that start with `---`.
pub(super) fn split(text: &str) -> Vec<Document<'_>> {
    let mut documents = Vec::new();
    let (mut start, mut start_line, mut at) = (0, 1, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let rest = line.strip_prefix("---");
        let marker = rest.is_some_and(|rest| rest.trim().is_empty() || rest.starts_with([' ', '\t']));
        if marker {
            documents.push((start_line, start, at));
            // What may follow on the marker's line belongs to the new document.
            (start, start_line) = (at + 3, number + 1);
        }
        at += line.len();
    }
    documents.push((start_line, start, at));
    let whole = documents.into_iter().filter_map(|(line, from, to)| {
        let text = text.get(from..to)?;
        let empty = text.lines().all(|line| {
            let line = line.trim();
            line.is_empty() || line.starts_with('#')
        });
        (!empty).then_some(Document { line, text })
    });
    whole.collect()
}

/// Where a document is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) line: usize,
    pub(super) field: String,
    pub(super) text: String,
}

/// Reads a document as `T`.
pub(super) fn decode<T: DeserializeOwned>(document: Document<'_>) -> Result<T, Wrong> {
    let deserializer = serde_yaml::Deserializer::from_str(document.text);
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { String::new() } else { path };
        wrong(document, field, error.inner())
    })
}

fn wrong(document: Document<'_>, field: String, error: &serde_yaml::Error) -> Wrong {
    let at = error.location();
    let line = at.as_ref().map_or(document.line, |at| document.line + at.line().saturating_sub(1));
    let mut text = error.to_string();
    if let Some(at) = at {
        let suffix = format!(" at line {} column {}", at.line(), at.column());
        text = text.replace(&suffix, "");
    }
    // The parser names the field too, or its parent; once is enough.
    let parents = field.char_indices().filter(|(_, letter)| *letter == '.').map(|(at, _)| at);
    let text = parents
        .chain([field.len()])
        .filter_map(|end| text.strip_prefix(field.get(..end)?)?.strip_prefix(": "))
        .next_back()
        .unwrap_or(&text)
        .to_owned();
    Wrong { line, field, text }
}
