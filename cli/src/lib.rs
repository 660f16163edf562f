//! Local mode and a person's tools.
