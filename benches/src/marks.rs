//! Files by which the apps of a case tell each other how far they are.

use anyhow::{Context as _, Result};

use crate::args::Options;

/// Makes the mark of this subscriber.
pub(crate) fn make(options: &Options, name: &str) -> Result<()> {
    let path = options.folder.join(format!("{name}-{}", options.index));
    std::fs::write(&path, "").with_context(|| format!("cannot write {}", path.display()))
}

/// Whether all subscribers have made it.
pub(crate) fn are_made(options: &Options, name: &str) -> bool {
    (0..options.subscribers).all(|index| options.folder.join(format!("{name}-{index}")).exists())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Args;
    use clap::Parser as _;

    /// Goal: a mark is there when every subscriber has made it, and not before.
    #[test]
    fn all_must_have_made_it() {
        let folder = tempfile::tempdir().unwrap();
        let place = format!("folder={}", folder.path().display());
        let mut options = Args::try_parse_from(["grpc-load", "subscribe", "grpc", &place, "subscribers=2"])
            .unwrap()
            .options()
            .unwrap();
        make(&options, "ready").unwrap();
        assert!(!are_made(&options, "ready"));
        options.index = 1;
        make(&options, "ready").unwrap();
        assert!(are_made(&options, "ready"));
    }
}
