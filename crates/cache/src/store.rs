//! The folder of the entries: reading, writing, removing.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io::{self, BufWriter, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::SystemTime;

use bytes::Bytes;

use super::format::{self, EntryError, SectionHead};
use super::key::{Digest, Key};
use super::map;
use super::prune::{Seen, surplus};

/// What entries' names end with.
const ENTRY: &str = "entry";
/// What the names of entries begin with while they are written.
const WRITING: &str = ".writing-";
/// The file that says that a folder holds a cache, and how it begins; see <https://bford.info/cachedir/>.
const TAG: &str = "CACHEDIR.TAG";
const TAG_SIGNATURE: &str = "Signature: 8a477f597d28d172789f06886806bc55";
/// Bytes that a thread checks at least: below that it is not worth starting.
const CHECKED_BYTES_MIN: usize = 1 << 20;
/// Bytes of an entry at most.
const ENTRY_BYTES_MAX: u64 = 64 << 30;

/// Why the store could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refuses.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file or the folder.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// An entry is not used.
    #[error("{}: {error}", path.display())]
    Entry {
        /// The entry.
        path: PathBuf,
        /// Why not.
        error: EntryError,
    },
    /// Others could change what is mapped.
    #[error("{}: it belongs to user {owner}, or others may write it; it must be this user's, or root's, and only theirs to write", path.display())]
    Owner {
        /// The entry.
        path: PathBuf,
        /// The number of the user that owns it.
        owner: u32,
    },
}

/// A part of an entry that is written.
#[derive(Debug, Clone)]
pub struct Section<'a> {
    name: String,
    bytes: &'a [u8],
}

impl<'a> Section<'a> {
    /// These bytes under that name.
    pub fn new(name: impl Into<String>, bytes: &'a [u8]) -> Self {
        Self {
            name: name.into(),
            bytes,
        }
    }
}

/// An entry that was checked. Its sections are parts of one mapping, which lasts as long as any of them.
#[derive(Debug, Clone, Default)]
pub struct Entry {
    sections: BTreeMap<String, Bytes>,
}

impl Entry {
    /// The section of that name, at an address that is a multiple of 64.
    ///
    /// # Errors
    /// Where there is none.
    pub fn section(&self, name: &str) -> Result<Bytes, EntryError> {
        let section = self.sections.get(name).cloned();
        section.ok_or_else(|| EntryError::Missing(name.to_owned()))
    }
}

/// A folder of entries.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
    bytes_max: u64,
}

impl Store {
    /// The folder, which need not exist yet, whose entries hold at most `bytes_max` bytes together.
    pub fn new(folder: PathBuf, bytes_max: u64) -> Self {
        Self { folder, bytes_max }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether a folder holds entries.
    pub fn is_at(folder: &Path) -> bool {
        let files = fs::read_dir(folder).into_iter().flatten().flatten();
        files
            .map(|file| file.path())
            .any(|path| path.extension() == Some(OsStr::new(ENTRY)))
    }

    /// Whether a folder says of itself that it holds a cache, this program's or another's.
    pub fn is_tagged(folder: &Path) -> bool {
        let tag = folder.join(TAG);
        // Opening a pipe would wait for who writes to it.
        if !tag.is_file() {
            return false;
        }
        let mut start = [0; TAG_SIGNATURE.len()];
        let read = File::open(tag).and_then(|mut file| file.read_exact(&mut start));
        read.is_ok() && start == *TAG_SIGNATURE.as_bytes()
    }

    /// Maps an entry of that kind (a word) and checks it; `None` where there is none.
    ///
    /// # Errors
    /// Where it cannot be read, is not this key's, or is damaged.
    pub fn open(&self, kind: &str, key: &Key) -> Result<Option<Entry>, StoreError> {
        let path = self.path(kind, key);
        let failed = |error| StoreError::Io {
            path: path.clone(),
            error,
        };
        let refused = |error| StoreError::Entry {
            path: path.clone(),
            error,
        };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() || metadata.len() > ENTRY_BYTES_MAX {
            return Err(refused(EntryError::NoEntry));
        }
        check_owner(&path, &metadata)?;
        let mapped = map::file(&file).map_err(failed)?;
        let parsed = format::parse(&mapped, key).map_err(refused)?;
        check(&mapped, &parsed.sections).map_err(refused)?;
        // So that pruning knows; a cache that is read-only is not pruned.
        let _ = file.set_modified(SystemTime::now());
        let section = |(head, place): (SectionHead, Range<usize>)| (head.name, mapped.slice(place));
        Ok(Some(Entry {
            sections: parsed.sections.into_iter().map(section).collect(),
        }))
    }

    /// Writes an entry, in place of the one that is there, and removes what is too much, and what was left half written.
    ///
    /// # Errors
    /// Where the folder cannot be written, such as a full disk. What is there stays as it is.
    pub fn write(&self, kind: &str, key: &Key, sections: &[Section<'_>]) -> Result<(), StoreError> {
        let path = self.path(kind, key);
        let failed = |error| StoreError::Io {
            path: path.clone(),
            error,
        };
        self.make_folder()?;
        self.remove_abandoned();
        let mut writing = tempfile::Builder::new();
        let file = writing.prefix(WRITING).tempfile_in(&self.folder).map_err(failed)?;
        // Tells those that remove what was abandoned that somebody is at it. A file system without locks has no such removal.
        let _ = file.as_file().try_lock();
        fill(file.as_file(), key, sections).map_err(failed)?;
        file.persist(&path).map_err(|error| failed(error.error))?;
        self.prune(&path);
        Ok(())
    }

    fn path(&self, kind: &str, key: &Key) -> PathBuf {
        self.folder.join(format!("{key}.{kind}.{ENTRY}"))
    }

    fn make_folder(&self) -> Result<(), StoreError> {
        let failed = |error| StoreError::Io {
            path: self.folder.clone(),
            error,
        };
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o755);
        builder.create(&self.folder).map_err(failed)?;
        self.tag().map_err(failed)
    }

    /// Tags the folder, where it is not. A file of that name that is there stays.
    fn tag(&self) -> io::Result<()> {
        let tag = self.folder.join(TAG);
        let mut file = match File::create_new(&tag) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
            file => file?,
        };
        let text = format!("{TAG_SIGNATURE}\n# What repserve found out about models; it can be deleted.\n");
        file.write_all(text.as_bytes()).inspect_err(|_| {
            // Half of it would be taken for the tag at the next start.
            let _ = fs::remove_file(&tag);
        })
    }

    /// Removes the entries that are too much for the folder, other than the one at `kept`. What cannot be removed stays.
    fn prune(&self, kept: &Path) {
        let seen = |file: fs::DirEntry| {
            let metadata = file.metadata().ok()?;
            let name = file.file_name().into_string().ok()?;
            let is_entry = Path::new(&name).extension() == Some(OsStr::new(ENTRY)) && metadata.is_file();
            is_entry.then_some(Seen {
                name,
                bytes: metadata.len(),
                used: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            })
        };
        let entries = self.files().filter_map(seen).collect();
        let kept = kept.file_name().and_then(OsStr::to_str).unwrap_or_default();
        for name in surplus(entries, kept, self.bytes_max) {
            let path = self.folder.join(&name);
            match fs::remove_file(&path) {
                Ok(()) => tracing::debug!(path = %path.display(), "cache entry removed, for want of space"),
                Err(error) => tracing::warn!(path = %path.display(), %error, "a cache entry cannot be removed"),
            }
        }
    }

    /// Removes what a process left that ended while it wrote.
    fn remove_abandoned(&self) {
        let writing = |file: &fs::DirEntry| file.file_name().to_string_lossy().starts_with(WRITING);
        for file in self.files().filter(writing) {
            let path = file.path();
            let abandoned = File::open(&path).map(|file| file.try_lock());
            match abandoned {
                Ok(Ok(())) => {
                    let _ = fs::remove_file(&path);
                }
                Ok(Err(TryLockError::WouldBlock)) => {}
                Ok(Err(TryLockError::Error(error))) | Err(error) => {
                    tracing::debug!(path = %path.display(), %error, "it is not known whether somebody still writes it");
                }
            }
        }
    }

    fn files(&self) -> impl Iterator<Item = fs::DirEntry> + use<> {
        fs::read_dir(&self.folder).into_iter().flatten().flatten()
    }
}

fn fill(file: &File, key: &Key, sections: &[Section<'_>]) -> io::Result<()> {
    let digests = digests(sections.iter().map(|section| section.bytes).collect());
    let heads = sections.iter().zip(digests);
    let head = format::head(
        key,
        heads.map(|(section, sha256)| (section.name.clone(), section.bytes.len(), sha256)),
    );
    let mut file = BufWriter::new(file);
    file.write_all(&head)?;
    for Section { bytes, .. } in sections {
        file.write_all(bytes)?;
        let filling = bytes.len().next_multiple_of(format::ALIGNMENT) - bytes.len();
        file.write_all(&[0; format::ALIGNMENT][..filling])?;
    }
    file.flush()?;
    // Others of the machine share the entry.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.get_ref().set_permissions(fs::Permissions::from_mode(0o644))?;
    }
    Ok(())
}

/// Compares the hashes of all sections.
fn check(mapped: &[u8], sections: &[(SectionHead, Range<usize>)]) -> Result<(), EntryError> {
    let digests = digests(sections.iter().map(|(_, place)| &mapped[place.clone()]).collect());
    let mut checked = sections.iter().zip(digests);
    match checked.find(|((head, _), digest)| head.sha256 != *digest) {
        None => Ok(()),
        Some(((head, _), _)) => Err(EntryError::Damaged {
            what: format!("section `{}`", head.name),
        }),
    }
}

/// The hash of each, on all cores where there is much.
fn digests(parts: Vec<&[u8]>) -> Vec<Digest> {
    let bytes: usize = parts.iter().map(|part| part.len()).sum();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = (bytes / CHECKED_BYTES_MIN).clamp(1, cores);
    let mut digests: Vec<Option<Digest>> = parts.iter().map(|_| None).collect();
    // The largest first, each to the thread that has least.
    let mut largest: Vec<_> = parts.into_iter().zip(&mut digests).collect();
    largest.sort_by_key(|(part, _)| std::cmp::Reverse(part.len()));
    let mut shares: Vec<(usize, Vec<_>)> = (0..threads).map(|_| (0, Vec::new())).collect();
    for (part, digest) in largest {
        if let Some((held, share)) = shares.iter_mut().min_by_key(|(held, _)| *held) {
            *held += part.len();
            share.push((part, digest));
        }
    }
    thread::scope(|scope| {
        let mut shares = shares.into_iter();
        let own = shares.next();
        for (_, share) in shares {
            scope.spawn(move || hash(share));
        }
        own.into_iter().for_each(|(_, share)| hash(share));
    });
    digests.into_iter().flatten().collect()
}

fn hash(share: Vec<(&[u8], &mut Option<Digest>)>) {
    for (part, digest) in share {
        *digest = Some(Digest::of(part));
    }
}

/// Refuses what somebody else could write while it is mapped. Whoever may write the folder can remove entries, or put others' in their
/// place, which are refused.
fn check_owner(path: &Path, metadata: &fs::Metadata) -> Result<(), StoreError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        const ROOT: u32 = 0;
        // A group may write: Kubernetes makes that of what lies in a volume with `fsGroup`.
        const OTHERS_WRITE: u32 = 0o002;
        let owner = metadata.uid();
        let trusted = [ROOT, rustix::process::geteuid().as_raw()];
        if metadata.mode() & OTHERS_WRITE != 0 || !trusted.contains(&owner) {
            return Err(StoreError::Owner {
                path: path.to_owned(),
                owner,
            });
        }
    }
    #[cfg(not(unix))]
    let _ = (path, metadata);
    Ok(())
}

#[cfg(test)]
mod tests;
