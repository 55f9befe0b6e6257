//! The models of a source, loaded, exchanged and unloaded while requests run.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

use super::background::stand_back;
use super::error::{ATTEMPTS, LoadError, Refused};
use super::freed::Freed;
use super::lifecycle::{LoadId, Outcome, State};
use super::model::{Answer, Entry, Model};
use super::scan::Fingerprint;
use super::settings::ModelsSettings;
use super::source::{Found, FoundModel, Source};
use crate::classify::{Models, Served, Shadow};
use crate::niceness::rank_with_workers;
use crate::telemetry::{Metrics, Swap};
use repserve_compile::Package;
use repserve_files::in_words;
use repserve_runtime::return_freed_memory;

/// How much of the machine loading may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// All of it: nothing is served yet.
    First,
    /// One core, behind everything else.
    Beside,
}

/// What a loader is given.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// The model's parts.
    pub package: Package,
    /// Its share of the workers relative to other models'.
    pub weight: u32,
    /// Where its golden answers lie, if it has any.
    pub folder: Option<&'a Path>,
    /// How much of the machine that may take.
    pub progress: Progress,
}

/// A model that can be served.
pub struct LoadedModel(pub Served);

/// Makes what can be served of a model's parts.
pub trait Loader: Send + Sync + 'static {
    /// Compiles, verifies, checks the golden answers and warms up. Blocks.
    ///
    /// # Errors
    /// Where the model must not be served.
    fn load(&self, wanted: Wanted<'_>) -> Result<LoadedModel, LoadError>;
}

/// What a repository works with.
pub struct Parts {
    /// Where models come from.
    pub source: Source,
    /// The section `[models]`.
    pub settings: ModelsSettings,
    /// Where requests find the models that are served.
    pub models: Arc<Models>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Makes what can be served.
    pub loader: Box<dyn Loader>,
}

/// Whether the server should get requests, as far as its models say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// The first loads are not done.
    Loading,
    /// Every model that is required is served.
    Ready,
    /// One that is required is not: why.
    Missing(String),
}

/// The models of a source. Cheap to clone.
#[derive(Clone)]
pub struct Repository(Arc<Inner>);

struct Inner {
    parts: Parts,
    tasks: Handle,
    models: Mutex<BTreeMap<String, Model>>,
    /// Whether the first loads are done.
    settled: watch::Sender<bool>,
    /// Changes with everything that the index shows.
    changes: watch::Sender<u64>,
    jobs: Sender<Job>,
    one_at_a_time: Mutex<()>,
    freed: Freed,
}

struct Job {
    name: String,
    load: LoadId,
    /// Whether versions whose files have not changed are loaded too.
    forced: bool,
}

/// What came of loading one version.
enum Made {
    /// It is served already, and its files have not changed.
    Same,
    /// It can be served.
    New(Arc<Served>, Option<Fingerprint>),
}

/// What came of loading each version.
type MadeVersions = Vec<(String, Result<Made, LoadError>)>;

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repository")
            .field("source", &self.0.parts.source)
            .finish_non_exhaustive()
    }
}

impl Repository {
    /// A repository of which nothing is loaded yet. Must be called within a runtime.
    ///
    /// # Errors
    /// Where a thread cannot be started.
    pub fn new(parts: Parts) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel();
        let inner = Arc::new(Inner {
            parts,
            tasks: Handle::current(),
            models: Mutex::default(),
            settled: watch::Sender::new(false),
            changes: watch::Sender::new(0),
            jobs,
            one_at_a_time: Mutex::new(()),
            freed: Freed::follow(),
        });
        let weak = Arc::downgrade(&inner);
        std::thread::Builder::new()
            .name("loader".to_owned())
            .spawn(move || load_beside(&weak, &queue))?;
        Ok(Self(inner))
    }

    /// Loads all models for the first time, one after the other. Blocks; takes the whole machine.
    ///
    /// # Errors
    /// Where the source cannot be read, or the only model there is to be cannot be served.
    pub fn load_all(&self) -> Result<(), LoadError> {
        let names = self.0.parts.source.names()?;
        self.note_default(&names);
        let of = |name: &String| {
            self.0.parts.metrics.model.known(name);
            (
                name.clone(),
                self.0.lock().entry(name.clone()).or_default().lifecycle.load().load,
            )
        };
        let loads: Vec<(String, LoadId)> = names.iter().map(of).collect();
        let mut failed = None;
        for (name, load) in loads {
            let job = Job {
                name,
                load,
                forced: true,
            };
            failed = self.0.perform(&job, Progress::First);
        }
        self.0.settled.send_replace(true);
        self.0.changed();
        match (failed, &self.0.parts.source) {
            (Some(error), Source::One(_)) => Err(error),
            _ => Ok(()),
        }
    }

    /// Completes when the first loads are done.
    pub async fn first_loads(&self) {
        let _ = self.0.settled.subscribe().wait_for(|settled| *settled).await;
    }

    /// Whether the server should get requests.
    pub fn readiness(&self) -> Readiness {
        if !*self.0.settled.borrow() {
            return Readiness::Loading;
        }
        let models = self.0.lock();
        let required = |(name, model): &(&String, &Model)| model.required || self.0.parts.settings.requires(name);
        let missing = models
            .iter()
            .filter(required)
            .find(|(_, model)| !model.lifecycle.is_ready());
        if let Some((name, model)) = missing {
            let reason = model.reason().unwrap_or_else(|| "it is not loaded".to_owned());
            return Readiness::Missing(format!("model {name:?} is required: {reason}"));
        }
        let named = self.0.parts.settings.required.iter();
        match named
            .filter(|name| *name != "*")
            .find(|name| !models.contains_key(*name))
        {
            Some(name) => Readiness::Missing(format!("model {name:?} is required: there is no such model")),
            None => Readiness::Ready,
        }
    }

    /// Changes whenever a model's state does.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Whether there is a model of this name, served or not; where it is not, why.
    pub fn why_not(&self, name: &str) -> Option<String> {
        let models = self.0.lock();
        let model = models.get(name)?;
        Some(model.reason().unwrap_or_else(|| {
            let loading = model.lifecycle.is_loading();
            (if loading { "it is loading" } else { "it is not loaded" }).to_owned()
        }))
    }

    /// Every version of every model.
    pub fn index(&self) -> Vec<Entry> {
        let models = self.0.lock();
        models.iter().flat_map(|(name, model)| model.entries(name)).collect()
    }

    /// Loads a model, or loads it anew; completes when it is served, or why it is not.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn load(&self, name: &str) -> Result<(), Refused> {
        let found = {
            let (inner, name) = (Arc::clone(&self.0), name.to_owned());
            let is_there = move || inner.parts.source.find(&name).map(|_| ());
            tokio::task::spawn_blocking(is_there).await
        };
        match found {
            Ok(Err(error)) if error.is_missing() && !self.0.lock().contains_key(name) => {
                return Err(Refused::NoModel(in_words(error)));
            }
            Ok(_) => {}
            Err(_) => return Err(Refused::Ending),
        }
        let (answer, answered) = oneshot::channel();
        self.0.request(name, true, Some(answer));
        answered.await.unwrap_or(Err(Refused::Ending))
    }

    /// Unloads a model; what was admitted finishes. Completes when its memory has been given back.
    ///
    /// # Errors
    /// Where there is no such model.
    pub async fn unload(&self, name: &str) -> Result<(), Refused> {
        {
            let mut models = self.0.lock();
            let Some(model) = models.get_mut(name) else {
                return Err(Refused::NoModel(format!("there is no model {name:?}")));
            };
            let retire = model.lifecycle.unload();
            model.answer(|_| true, &Err(Refused::Unloaded));
            self.0.retire(name, model, retire);
        }
        self.0.parts.metrics.model.swapped(Some(name), Swap::Unloaded);
        self.0.changed();
        let mut changes = self.changes();
        let unloading = |repository: &Self| {
            let models = repository.0.lock();
            let mut versions = models
                .get(name)
                .into_iter()
                .flat_map(|model| model.lifecycle.versions().values());
            versions.any(|state| *state == State::Unloading)
        };
        while unloading(self) {
            if changes.changed().await.is_err() {
                return Err(Refused::Ending);
            }
        }
        Ok(())
    }

    /// Reads the source again: loads what is new or has changed, and unloads what is not there any more. What was unloaded on request stays
    /// so. Blocks while it reads, not while it loads.
    pub fn reread(&self) {
        let names = match self.0.parts.source.names() {
            Ok(names) => names,
            Err(error) => {
                tracing::error!(
                    error = in_words(error),
                    "the models cannot be read again; what is served goes on"
                );
                self.0.parts.metrics.model.swapped(None, Swap::Other);
                return;
            }
        };
        self.note_default(&names);
        let known: Vec<String> = self.0.lock().keys().cloned().collect();
        for name in known.iter().filter(|name| !names.contains(*name)) {
            let mut models = self.0.lock();
            if let Some(model) = models.get_mut(name) {
                tracing::info!(model = name, "its folder is gone; it is unloaded");
                let retire = model.lifecycle.unload();
                model.answer(|_| true, &Err(Refused::Unloaded));
                self.0.retire(name, model, retire);
                models.remove(name);
                self.0.parts.metrics.model.unknown(name);
            }
        }
        for name in names {
            let stays = self
                .0
                .lock()
                .get(&name)
                .is_some_and(|model| model.lifecycle.is_unloaded());
            if !stays {
                self.0.request(&name, false, None);
            }
        }
        self.0.changed();
    }

    /// Completes when no model is loading.
    pub async fn loads_done(&self) {
        let mut changes = self.changes();
        let loading = || self.0.lock().values().any(|model| model.lifecycle.is_loading());
        while loading() {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// The settings that govern this.
    pub fn settings(&self) -> &ModelsSettings {
        &self.0.parts.settings
    }

    /// Where models come from.
    pub fn source(&self) -> &Source {
        &self.0.parts.source
    }

    fn note_default(&self, names: &BTreeSet<String>) {
        let set = Some(&self.0.parts.settings.default).filter(|name| !name.is_empty());
        let only = names.first().filter(|_| names.len() == 1);
        self.0.parts.models.set_default(set.or(only).cloned());
    }
}

/// The thread that loads while requests are served; ends with the repository.
fn load_beside(inner: &Weak<Inner>, jobs: &Receiver<Job>) {
    stand_back();
    while let Ok(job) = jobs.recv() {
        let Some(inner) = inner.upgrade() else { return };
        inner.perform(&job, Progress::Beside);
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Model>> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Requests a load.
    fn request(&self, name: &str, forced: bool, answer: Option<Answer>) {
        let mut models = self.lock();
        let model = models.entry(name.to_owned()).or_insert_with(|| {
            self.parts.metrics.model.known(name);
            Model::default()
        });
        let requested = model.lifecycle.load();
        model.waiting.extend(answer.map(|answer| (requested.load, answer)));
        if requested.starts {
            let job = Job {
                name: name.to_owned(),
                load: requested.load,
                forced,
            };
            let _ = self.jobs.send(job);
        }
    }

    /// Loads a model. Returns why not all of its versions could be.
    fn perform(self: &Arc<Self>, job: &Job, progress: Progress) -> Option<LoadError> {
        let _one = self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.lock().get_mut(&job.name)?.lifecycle.begin(job.load) {
            return None;
        }
        self.changed();
        let made = match self.parts.source.find(&job.name) {
            Ok(found) => Ok(self.make(job, found, progress)),
            Err(error) => Err(LoadError::from(error)),
        };
        let error = self.take_over(job, made);
        self.changed();
        match progress {
            // Nobody is held up.
            Progress::First => return_freed_memory(),
            Progress::Beside => self.freed.note(),
        }
        error
    }

    /// Makes the versions of a model.
    fn make(&self, job: &Job, found: FoundModel, progress: Progress) -> MadeVersions {
        let known = {
            let mut models = self.lock();
            let Some(model) = models.get_mut(&job.name) else {
                return Vec::new();
            };
            model.required = found.required;
            let versions = found.versions.iter().map(|found| found.version.as_str());
            model.lifecycle.loading(versions);
            model.serving.clone()
        };
        self.changed();
        let mut made = Vec::new();
        for found_version in found.versions {
            let number = found_version.version.clone();
            let same = known
                .get(&number)
                .is_some_and(|known| *known == found_version.fingerprint());
            let one = if same && !job.forced {
                Ok(Made::Same)
            } else if self.wants(job) {
                self.make_version(job, found_version, found.weight, progress)
            } else {
                // Whatever it is, it will be thrown away.
                Ok(Made::Same)
            };
            made.push((number, one));
        }
        made
    }

    fn wants(&self, job: &Job) -> bool {
        self.lock()
            .get(&job.name)
            .is_some_and(|model| model.lifecycle.wants(job.load))
    }

    /// Makes one version of files that do not change meanwhile.
    fn make_version(&self, job: &Job, found: Found, weight: u32, progress: Progress) -> Result<Made, LoadError> {
        let number = found.version.clone();
        let mut found = Some(found);
        for _ in 0..ATTEMPTS {
            let one = match found.take() {
                Some(found) => found,
                None => self.find_again(job, &number)?,
            };
            let (files, fingerprint) = (one.files.clone(), one.fingerprint());
            let made = one.package().map_err(LoadError::from).and_then(|package| {
                let wanted = Wanted {
                    package,
                    weight,
                    folder: files.as_ref().map(|(files, _)| files.folder.as_path()),
                    progress,
                };
                // The thread goes on: other models are to be loaded after this one.
                let loaded = catch_unwind(AssertUnwindSafe(|| self.parts.loader.load(wanted)));
                loaded.unwrap_or(Err(LoadError::Panicked))
            });
            let changed = match &files {
                Some((files, before)) => files.fingerprint().is_ok_and(|now| now != *before),
                None => false,
            };
            if changed && self.wants(job) {
                tracing::info!(
                    model = job.name,
                    version = number,
                    "its files changed while they were read"
                );
                continue;
            }
            let served = Arc::new(made?.0);
            self.shadow(job, &served, progress);
            return Ok(Made::New(served, fingerprint));
        }
        Err(LoadError::Changing)
    }

    fn find_again(&self, job: &Job, version: &str) -> Result<Found, LoadError> {
        let found = self.parts.source.find(&job.name)?;
        let mut versions = found.versions.into_iter();
        let found = versions.find(|found| found.version == version);
        found.ok_or(LoadError::Changing)
    }

    /// Lets the version that is served share its requests with the next one for a while.
    fn shadow(&self, job: &Job, next: &Arc<Served>, progress: Progress) {
        let settings = &self.parts.settings;
        let Some(current) = self.parts.models.get(&job.name, None) else {
            return;
        };
        if settings.shadow <= 0.0 || progress == Progress::First {
            return;
        }
        let shadow = Shadow::new(Arc::clone(next), settings.shadow, Arc::clone(&self.parts.metrics));
        current.share_requests(Some(Arc::clone(&shadow)));
        shadow.wait(settings.shadow_requests, settings.shadow_time_max(), &|| {
            self.wants(job)
        });
        current.share_requests(None);
        let (compared, agreed) = shadow.counts();
        let version = next.version();
        tracing::info!(
            model = job.name,
            version,
            compared,
            agreed,
            "computed live requests as well"
        );
    }

    /// Serves what was made, where it is still wanted, and stops serving what it replaces.
    fn take_over(self: &Arc<Self>, job: &Job, made: Result<MadeVersions, LoadError>) -> Option<LoadError> {
        let outcome = outcome(&made);
        let (mut new, mut failed) = (Vec::new(), None);
        match made {
            Err(error) => failed = Some(error),
            Ok(made) => {
                for (version, made) in made {
                    match made {
                        Ok(Made::New(served, fingerprint)) => new.push((version, served, fingerprint)),
                        Ok(Made::Same) => {}
                        Err(error) => failed = failed.or(Some(error)),
                    }
                }
            }
        }
        let mut models = self.lock();
        let model = models.get_mut(&job.name)?;
        let ended = model.lifecycle.ended(job.load, outcome);
        let answer = match &failed {
            _ if !ended.publish => Err(Refused::Unloaded),
            Some(error) => Err(Refused::Failed(in_words(error))),
            None => Ok(()),
        };
        self.count(job, ended.publish, failed.as_ref(), new.len());
        for (version, served, fingerprint) in new {
            if ended.publish {
                model.serving.insert(version.clone(), fingerprint);
                self.publish(&job.name, version, served);
            } else if self.parts.models.get(&job.name, Some(&version)).is_none() {
                self.parts.metrics.model.forget(&job.name, &version);
            }
        }
        self.retire(&job.name, model, ended.retire);
        model.answer(|load| load <= job.load, &answer);
        if let Some(load) = ended.starts {
            let name = job.name.clone();
            let forced = false;
            let _ = self.jobs.send(Job { name, load, forced });
        }
        failed
    }

    fn count(&self, job: &Job, published: bool, failed: Option<&LoadError>, new: usize) {
        let (metrics, name) = (&self.parts.metrics.model, Some(job.name.as_str()));
        let replaces = self.parts.models.get(&job.name, None).is_some();
        match failed {
            _ if !published => metrics.swapped(name, Swap::Cancelled),
            Some(error) => {
                let swap = error.counts_as();
                metrics.swapped(name, swap);
                metrics.load_failed(swap == Swap::Verification);
                // Without its only model the server ends, with this error.
                if replaces || !matches!(self.parts.source, Source::One(_)) {
                    tracing::error!(
                        model = job.name,
                        error = in_words(error),
                        serves = replaces,
                        "cannot be loaded"
                    );
                }
            }
            None if new == 0 => {}
            None => metrics.swapped(name, if replaces { Swap::Swapped } else { Swap::Loaded }),
        }
    }

    /// Serves a version from now on. When its last request is done, later, its memory is given back.
    fn publish(self: &Arc<Self>, name: &str, version: String, served: Arc<Served>) {
        let dropped = served.when_dropped();
        let (weak, name) = (Arc::downgrade(self), name.to_owned());
        self.tasks.spawn(async move {
            if let Ok(left) = dropped.await {
                let inner = weak.upgrade();
                let exchanged = inner.is_some_and(|inner| inner.parts.models.get(&name, Some(&version)).is_some());
                let free = move || {
                    rank_with_workers();
                    left.end();
                    // Who unloads a model waits for its memory.
                    if !exchanged {
                        return_freed_memory();
                    }
                };
                let _ = tokio::task::spawn_blocking(free).await;
            }
            if let Some(inner) = weak.upgrade() {
                inner.freed.note();
                if let Some(model) = inner.lock().get_mut(&name) {
                    model.lifecycle.retired(&version);
                }
                inner.changed();
            }
        });
        drop(self.parts.models.put(served));
        self.parts.models.publish(&self.parts.metrics);
    }

    /// Stops serving versions; what they have admitted finishes.
    fn retire(&self, name: &str, model: &mut Model, versions: Vec<String>) {
        for version in versions {
            model.serving.remove(&version);
            drop(self.parts.models.remove(name, &version));
            self.parts.metrics.model.forget(name, &version);
            tracing::info!(model = name, version, "not served any more; what was admitted finishes");
        }
        self.parts.models.publish(&self.parts.metrics);
    }
}

/// How a load went, for the state machine.
fn outcome(made: &Result<MadeVersions, LoadError>) -> Outcome {
    match made {
        Err(error) => Outcome::Unreadable(in_words(error)),
        Ok(made) => {
            let each = made.iter().map(|(version, made)| {
                let result = made.as_ref().map(|_| ()).map_err(in_words);
                (version.clone(), result)
            });
            Outcome::Versions(each.collect())
        }
    }
}
