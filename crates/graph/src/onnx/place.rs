//! Where in a file something is, for messages.

use std::fmt;

/// A node of the file, as error messages name it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) index: usize,
    pub(super) op: &'a str,
    pub(super) name: &'a str,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} ({} {:?})", self.index, self.op, self.name)
    }
}
