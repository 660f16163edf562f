//! JSON to a kind, with an error that names the field. Parsing of YAML text is the caller's.

use crate::field::FieldError;
use serde::de::DeserializeOwned;

/// Decodes one object. Unknown fields, wrong types and values out of their limits are refused.
///
/// # Errors
/// The path of the field that is wrong (`spec.retention`), and what is wrong with it.
pub fn decode<T: DeserializeOwned>(value: &serde_json::Value) -> Result<T, FieldError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let field = match error.path().to_string() {
            path if path == "." => "object".to_owned(),
            path => path,
        };
        FieldError::new(field, error.into_inner().to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Channel, Topic};

    fn problem<T: DeserializeOwned + std::fmt::Debug>(yaml: &str) -> String {
        let value: serde_json::Value = serde_yaml::from_str(yaml).unwrap();
        decode::<T>(&value).unwrap_err().to_string()
    }

    /// Goal: a manifest with a wrong field is refused with an error that names the field.
    #[test]
    fn errors_name_the_field() {
        let head = "apiVersion: pinnace.dev/v1alpha1\nmetadata: {name: a, namespace: b}\n";
        let unknown = problem::<Topic>(&format!("{head}kind: Topic\nspec: {{retention: {{tme: 7d}}}}"));
        assert!(unknown.starts_with("spec.retention") && unknown.contains("tme") && unknown.contains("time"));
        let bad = problem::<Topic>(&format!("{head}kind: Topic\nspec: {{retention: {{size: 10Gb}}}}"));
        assert!(bad.starts_with("spec.retention.size: ") && bad.contains("10Gb"), "{bad}");
        let bad =
            problem::<Channel>(&format!("{head}kind: Channel\nspec: {{delivery: {{blockTimeout: 5}}}}"));
        assert!(bad.starts_with("spec.delivery.blockTimeout: "), "{bad}");
        let bad = problem::<Channel>(&format!("{head}kind: Channel\nspec: {{delivery: {{overflow: Drop}}}}"));
        assert!(bad.starts_with("spec.delivery.overflow: ") && bad.contains("DropNewest"), "{bad}");
    }
}
