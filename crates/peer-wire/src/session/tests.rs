//! Pairs of sessions in memory.
