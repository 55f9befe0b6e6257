//! The invariants of a valid graph.
