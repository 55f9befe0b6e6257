//! Where a value of the configuration came from, and what is wrong with it.

use std::fmt;
use std::path::PathBuf;

use repserve_files::FileError;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The key's declaration.
    Default,
    /// A configuration file.
    File {
        /// The file as it was named.
        path: PathBuf,
        /// Line of the value, from 1.
        line: usize,
    },
    /// An environment variable.
    Variable(String),
    /// A command-line flag.
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => write!(f, "default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration file {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: FileError,
    },
    /// A default has no form in TOML: a fault of the program.
    #[error("the default settings cannot be written as TOML: {0}")]
    Defaults(toml::ser::Error),
    /// The file is not TOML.
    #[error("{}:{line}: not valid TOML: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line of the fault, from 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// There is no such key.
    #[error("unknown key `{key}` ({source_of}); {hint}")]
    UnknownKey {
        /// The key, dotted.
        key: String,
        /// Where it was given.
        source_of: Source,
        /// What might have been meant.
        hint: String,
    },
    /// A variable sets no key, and would with another number of underscores.
    #[error("the variable {name} sets nothing; it is written {right}")]
    MisspeltVariable {
        /// As it is written.
        name: String,
        /// The variable of the key.
        right: String,
    },
    /// The key has another name now.
    #[error("`{key}` ({source_of}) is called `{new}` now")]
    Renamed {
        /// The key, dotted.
        key: String,
        /// Where it was given.
        source_of: Source,
        /// Its name now.
        new: &'static str,
    },
    /// The value has the wrong type or is impossible.
    #[error("`{key}` ({source_of}): {reason}")]
    Value {
        /// The key, dotted.
        key: String,
        /// Where it was given.
        source_of: Source,
        /// What is wrong with it.
        reason: String,
    },
}

impl ConfigError {
    /// A value that a key does not take: what it takes, and what was given.
    pub(super) fn refused(key: String, source_of: Source, wants: &str, found: impl fmt::Display) -> Self {
        let reason = format!("wants {wants}, found {found}");
        Self::Value { key, source_of, reason }
    }
}
