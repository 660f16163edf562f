//! Objects as the API server sends them, decoded or not: one that cannot be decoded never stops the
//! watch of the others, and its error names the field.

use api::field::FieldError;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::{Deserialize, Deserializer, de};
use std::{borrow::Cow, sync::Arc};

/// An object of the kind `K`, or what is wrong with it.
#[derive(Clone, Debug)]
pub struct Guarded<K>(pub Result<Arc<K>, Invalid>);

/// An object that could not be decoded.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{error}")]
pub struct Invalid {
    /// Which field, and what is wrong with it.
    pub error: FieldError,
    /// Whose it is.
    pub metadata: Box<ObjectMeta>,
    /// What its status says, as it is.
    pub status: serde_json::Value,
}

impl<K> Guarded<K> {
    /// The object, if it could be decoded.
    #[must_use]
    pub fn decoded(&self) -> Option<&Arc<K>> {
        self.0.as_ref().ok()
    }
}

impl<'de, K: de::DeserializeOwned> Deserialize<'de> for Guarded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut value = serde_json::Value::deserialize(deserializer)?;
        if let Some(metadata) = value.get_mut("metadata").and_then(serde_json::Value::as_object_mut) {
            // Half of an object's size, and of no use here.
            metadata.remove("managedFields");
        }
        match api::decode::decode::<K>(&value) {
            Ok(object) => Ok(Self(Ok(Arc::new(object)))),
            Err(error) => {
                let metadata = value.get("metadata").cloned().unwrap_or_default();
                let metadata = serde_json::from_value(metadata).map_err(de::Error::custom)?;
                let status = value.get("status").cloned().unwrap_or_default();
                Ok(Self(Err(Invalid { error, metadata: Box::new(metadata), status })))
            }
        }
    }
}

impl<K: Resource + Clone> Resource for Guarded<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(dynamic)
    }

    fn group(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::group(dynamic)
    }

    fn version(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::version(dynamic)
    }

    fn plural(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(dynamic)
    }

    fn meta(&self) -> &ObjectMeta {
        match &self.0 {
            Ok(object) => object.meta(),
            Err(invalid) => &invalid.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match &mut self.0 {
            Ok(object) => Arc::make_mut(object).meta_mut(),
            Err(invalid) => &mut invalid.metadata,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::Topic;

    /// Goal: one bad object among good ones is told apart, with its name and the field.
    #[test]
    fn a_bad_object_does_not_spoil_the_others() {
        let list = serde_json::json!([
            {"metadata": {"name": "good", "managedFields": [{"manager": "x"}]}, "spec": {}},
            {"metadata": {"name": "bad"}, "spec": {"retention": {"time": "a week"}}},
        ]);
        let objects: Vec<Guarded<Topic>> = serde_json::from_value(list).unwrap();
        assert!(objects[0].decoded().unwrap().metadata.managed_fields.is_none());
        let invalid = objects[1].0.as_ref().unwrap_err();
        assert_eq!(objects[1].meta().name.as_deref(), Some("bad"));
        assert_eq!(invalid.error.field, "spec.retention.time");
    }
}
