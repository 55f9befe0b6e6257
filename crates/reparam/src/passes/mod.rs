//! The passes, one file each. A pass rewrites the graph where it knows better and reports what it did.

pub(crate) mod fold_constants;
pub(crate) mod fuse_linear;
pub(crate) mod kept;
pub(crate) mod merge_branches;
pub(crate) mod rewrite_borders;
pub(crate) mod sink_transposes;
