use std::os::unix::fs::PermissionsExt;

use super::*;

const KIND: &str = "sessions";

fn key() -> Key {
    Key::of(&[("model", b"m")])
}

fn store(bytes_max: u64) -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path().join("below"), bytes_max);
    (folder, store)
}

fn written(bytes: &[u8]) -> (tempfile::TempDir, Store) {
    let (folder, store) = store(1 << 30);
    let sections = [Section::new("a", bytes), Section::new("b", b"b")];
    store.write(KIND, &key(), &sections).unwrap();
    (folder, store)
}

fn names(store: &Store) -> Vec<String> {
    let name = |file: fs::DirEntry| file.file_name().into_string().unwrap();
    store.files().map(name).filter(|name| name != TAG).collect()
}

#[test]
fn what_was_written_is_mapped_and_lasts_longer_than_the_file() {
    let bytes: Vec<u8> = (0..5_000_000u32).map(|n| (n * 7) as u8).collect();
    let (_folder, store) = written(&bytes);
    let entry = store.open(KIND, &key()).unwrap().unwrap();
    fs::remove_file(store.path(KIND, &key())).unwrap();
    let section = entry.section("a").unwrap();
    drop(entry);
    assert!(section == bytes && (section.as_ptr() as usize).is_multiple_of(format::ALIGNMENT));
    assert!(store.open(KIND, &key()).unwrap().is_none());
}

#[test]
fn kinds_and_keys_are_kept_apart() {
    let (_folder, store) = written(b"1");
    assert!(store.open("other", &key()).unwrap().is_none());
    assert!(store.open(KIND, &Key::of(&[])).unwrap().is_none());
    let entry = store.open(KIND, &key()).unwrap().unwrap();
    assert_eq!(entry.section("c"), Err(EntryError::Missing("c".to_owned())));
}

/// The error of opening an entry whose file `change` was made to.
#[track_caller]
fn damaged(change: impl FnOnce(&mut Vec<u8>)) -> String {
    let (_folder, store) = written(&[7; 3000]);
    let path = store.path(KIND, &key());
    let mut file = fs::read(&path).unwrap();
    change(&mut file);
    fs::write(&path, file).unwrap();
    let error = store.open(KIND, &key()).unwrap_err().to_string();
    error.rsplit(": ").next().unwrap().to_owned()
}

#[test]
fn damage_is_found_wherever_it_is() {
    let text = damaged(|file| {
        let place = file.iter().position(|byte| *byte == 7).unwrap();
        file[place + 1000] ^= 1;
    });
    assert_eq!(text, "section `a` has another SHA-256 than was written");
    assert_eq!(damaged(|file| file.truncate(2000)), "it is no cache entry, or damaged");
    assert_eq!(damaged(Vec::clear), "it is no cache entry, or damaged");
    assert_eq!(
        damaged(|file| file[7] = b'0'),
        "another version of this program wrote it"
    );
}

#[test]
fn an_entry_under_another_ones_name_is_foreign() {
    let (_folder, store) = written(b"1");
    let other = Key::of(&[("model", b"n")]);
    fs::rename(store.path(KIND, &key()), store.path(KIND, &other)).unwrap();
    let error = store.open(KIND, &other).unwrap_err();
    let foreign = EntryError::Foreign { found: key().digest() };
    assert!(matches!(error, StoreError::Entry { error, .. } if error == foreign));
}

#[test]
fn what_was_left_half_written_is_removed_unless_somebody_is_at_it() {
    let (_folder, store) = written(b"1");
    let left = store.folder().join(format!("{WRITING}left"));
    let at_it = store.folder().join(format!("{WRITING}now"));
    fs::write(&left, b"half").unwrap();
    let file = File::create(&at_it).unwrap();
    file.lock().unwrap();
    store.write(KIND, &key(), &[]).unwrap();
    assert!(!left.exists() && at_it.exists());
}

#[test]
fn what_is_too_much_is_removed() {
    let (_folder, store) = store(5000);
    for n in 0..3u8 {
        let key = Key::of(&[("n", &[n])]);
        store.write(KIND, &key, &[Section::new("a", &[n; 2000])]).unwrap();
        let file = File::open(store.path(KIND, &key)).unwrap();
        let used = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(n.into());
        file.set_modified(used).unwrap();
    }
    assert_eq!(names(&store).len(), 2);
    assert!(store.open(KIND, &Key::of(&[("n", &[0])])).unwrap().is_none());
}

#[test]
fn what_others_may_write_is_not_mapped() {
    let (_folder, store) = written(b"1");
    let path = store.path(KIND, &key());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    let error = store.open(KIND, &key()).unwrap_err();
    assert!(matches!(error, StoreError::Owner { .. }), "{error}");
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error_with_its_path() {
    let (folder, store) = store(1);
    fs::write(folder.path().join("below"), b"a file").unwrap();
    let error = store.write(KIND, &key(), &[]).unwrap_err().to_string();
    assert!(error.starts_with(&store.folder().display().to_string()), "{error}");
}

#[test]
fn a_folder_is_tagged_once_and_a_pipe_is_no_tag() {
    let (folder, store) = written(b"1");
    assert!(Store::is_tagged(store.folder()));
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    assert!(!Store::is_tagged(&other));
    assert!(
        std::process::Command::new("mkfifo")
            .arg(other.join(TAG))
            .status()
            .unwrap()
            .success()
    );
    assert!(!Store::is_tagged(&other));
    fs::write(store.folder().join(TAG), "mine").unwrap();
    store.write(KIND, &key(), &[]).unwrap();
    assert_eq!(fs::read(store.folder().join(TAG)).unwrap(), b"mine");
}
