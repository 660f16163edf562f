//! Starts `pinnace`.

fn main() {}
