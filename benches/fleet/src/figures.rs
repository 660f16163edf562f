//! What came of it, by name; the name ends in the unit.

use serde_json::{Map, Value};

/// See the module.
#[derive(Default)]
pub(crate) struct Figures(Map<String, Value>);

impl Figures {
    /// A value; it is told at once, so that what fails later takes nothing with it.
    pub(crate) fn set(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        let (name, value) = (name.into(), value.into());
        eprintln!("{name:56} {value}");
        self.0.insert(name, value);
    }

    /// All of them.
    pub(crate) fn into_json(self) -> Value {
        Value::Object(self.0)
    }
}
