//! Entries that a program keeps from one start to the next.
//!
//! An entry is a file of named sections. Its name is its [`Key`], the hash of all that it depends on. It is written under another name and
//! renamed, so that it is there whole or not at all; it is checked by SHA-256 when it is opened, and mapped read-only: processes on one
//! machine share its pages, and nothing is copied. Entries that have not been used for the longest are removed where all of them together
//! are larger than they may be.
//!
//! ```
//! use repserve_cache::{Key, Section, Store};
//!
//! let folder = tempfile::tempdir()?;
//! let store = Store::new(folder.path().to_owned(), 1 << 20);
//! let key = Key::of(&[("model", b"its bytes"), ("version", b"1")]);
//! store.write("sessions", &key, &[Section::new("answer", b"42".as_slice())])?;
//!
//! let entry = store.open("sessions", &key)?.expect("it was just written");
//! assert_eq!(&*entry.section("answer")?, b"42");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod format;
mod key;
mod map;
mod prune;
mod scratch;
mod settings;
mod store;

pub use format::EntryError;
pub use key::{Digest, Key};
pub use scratch::Scratch;
pub use settings::{CachePath, CacheSettings};
pub use store::{Entry, Section, Store, StoreError};
