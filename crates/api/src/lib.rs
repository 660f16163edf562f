//! The four kinds, their validation, names, labels and annotations. Pure.
#![warn(missing_docs)]
