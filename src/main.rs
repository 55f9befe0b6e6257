//! The `repserve` binary.

fn main() {}
