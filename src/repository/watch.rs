//! Follows changes in a repository's folder. A change counts when nothing has changed for a while after it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::control::Repository;

/// How often a folder is read again that cannot be watched.
const RETRY: Duration = Duration::from_secs(5);

/// Reads the repository again after each change, for as long as the server runs. What changes after this is called is noticed.
pub fn watch(repository: Repository) -> impl Future<Output = ()> + Send {
    let folder = repository.source().folder().map(Path::to_owned);
    let (sender, changes) = mpsc::channel(1);
    let watcher = folder.as_deref().and_then(|folder| try_start(folder, &sender));
    async move {
        if let Some(folder) = folder {
            follow(repository, &folder, watcher, sender, changes).await;
        }
    }
}

async fn follow(
    repository: Repository,
    folder: &Path,
    mut watcher: Option<RecommendedWatcher>,
    sender: Sender<()>,
    mut changes: Receiver<()>,
) {
    let settle = repository.settings().settle();
    repository.first_loads().await;
    loop {
        match &watcher {
            Some(_) => settled(&mut changes, settle).await,
            None => tokio::time::sleep(RETRY).await,
        }
        // Anew after each change: folders may have been exchanged, by names or by links. Before they are read, so that no change falls
        // between the two.
        watcher = try_start(folder, &sender);
        let again = repository.clone();
        let _ = tokio::task::spawn_blocking(move || again.reread()).await;
    }
}

fn try_start(folder: &Path, changes: &Sender<()>) -> Option<RecommendedWatcher> {
    let started = start(folder, changes);
    let warn = |error: &notify::Error| {
        tracing::warn!(folder = %folder.display(), %error, "cannot be watched; it is read again every few seconds");
    };
    started.inspect_err(warn).ok()
}

/// Waits for a change, and until nothing has changed for as long as `settle`.
async fn settled(changes: &mut Receiver<()>, settle: Duration) {
    let _ = changes.recv().await;
    while let Ok(Some(())) = tokio::time::timeout(settle, changes.recv()).await {}
}

/// Watches a folder and what is in it, and the folder in which it lies: it may be a link that is exchanged, or come back.
fn start(folder: &Path, changes: &Sender<()>) -> notify::Result<RecommendedWatcher> {
    let folder = std::path::absolute(folder)?;
    let (parent, name) = (
        folder.parent().map(Path::to_owned),
        folder.file_name().map(OsString::from),
    );
    let outside = parent.clone().zip(name);
    let changes = changes.clone();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        let counts = match &event {
            Ok(event) => concerns(event, outside.as_ref()),
            // Events were lost.
            Err(_) => true,
        };
        if counts {
            // Where one waits already, this one is part of it.
            let _ = changes.try_send(());
        }
    })?;
    if let Some(parent) = parent {
        watcher.watch(&parent, RecursiveMode::NonRecursive)?;
    }
    if folder.exists() {
        watcher.watch(&std::fs::canonicalize(&folder)?, RecursiveMode::Recursive)?;
    }
    Ok(watcher)
}

/// Whether an event is a change of the folder: reading is none, nor what happens beside it.
fn concerns(event: &Event, outside: Option<&(PathBuf, OsString)>) -> bool {
    if matches!(event.kind, EventKind::Access(_)) {
        return false;
    }
    let Some((parent, name)) = outside else {
        return true;
    };
    let beside = |path: &PathBuf| path.parent() == Some(parent) && path.file_name() != Some(name);
    event.paths.is_empty() || !event.paths.iter().all(beside)
}

#[cfg(test)]
mod tests {
    use notify::event::{AccessKind, CreateKind};

    use super::*;

    fn event(kind: EventKind, path: &str) -> Event {
        Event::new(kind).add_path(PathBuf::from(path))
    }

    #[test]
    fn reading_and_what_happens_beside_the_folder_are_no_changes() {
        let outside = Some((PathBuf::from("/srv"), OsString::from("models")));
        let check = |kind: EventKind, path: &str, expected: bool| {
            assert_eq!(concerns(&event(kind, path), outside.as_ref()), expected, "{path}");
        };
        let created = EventKind::Create(CreateKind::Any);
        check(created, "/srv/models", true);
        check(created, "/srv/models/a/1/model.onnx", true);
        check(created, "/srv/logs", false);
        check(EventKind::Access(AccessKind::Any), "/srv/models/a/model.toml", false);
    }

    #[tokio::test]
    async fn files_and_links_that_are_exchanged_are_noticed() {
        let root = tempfile::tempdir().unwrap();
        let root = std::fs::canonicalize(root.path()).unwrap();
        for version in ["one", "two"] {
            std::fs::create_dir_all(root.join(version).join("model")).unwrap();
        }
        let link = root.join("models");
        std::os::unix::fs::symlink("one", &link).unwrap();
        let (sender, mut changes) = mpsc::channel(1);
        let watcher = start(&link, &sender).unwrap();
        std::fs::write(root.join("one/model/model.toml"), "").unwrap();
        changes.recv().await.unwrap();
        drop(watcher);
        while changes.try_recv().is_ok() {}

        let _watcher = start(&link, &sender).unwrap();
        std::os::unix::fs::symlink("two", root.join("next")).unwrap();
        std::fs::rename(root.join("next"), &link).unwrap();
        changes.recv().await.unwrap();
    }
}
