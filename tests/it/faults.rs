//! What goes wrong while models are loaded and exchanged, and what comes of it: versions that must not serve, files that change meanwhile,
//! loads and unloads that meet, a loader that panics.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use repserve::app::load;
use repserve::classify::Models as Serving;
use repserve::config::Settings;
use repserve::repository::{Control, LoadError, LoadedModel, Loader, Parts, Refused, Repository, Source, Wanted};
use repserve::telemetry::Metrics;
use repserve_compile::{VerifyOtherwise, VersionPolicy};
use repserve_graph::{DType, Dim, Graph, Model, Node, Tensor, Value, onnx};
use serde_json::json;

use crate::support::images::png;
use crate::support::models::{Models, control, index, replace};
use crate::support::{Server, checkout, until};

/// The name that the default model's `model.toml` has.
const NAME: &str = "repvgg-cifar10";

/// Has version 2 of `m` loaded, which must fail while version 1 goes on; checks what it is counted as. Returns the reason.
async fn refused(server: &Server, outcome: &str) -> String {
    let (status, body) = control(server, "m", "load").await;
    assert_eq!((status, &body["code"]), (422, &json!("model_refused")), "{body}");
    assert_eq!(server.classify(png(1)).await["version"], "1");
    let entry = |version: &str, state: &str| ["m", version, state].map(str::to_owned);
    assert_eq!(index(server).await, [entry("1", "READY"), entry("2", "UNAVAILABLE")]);
    let text = String::from_utf8(server.shared.metrics.encode().unwrap()).unwrap();
    let line = format!("repserve_model_swaps_total{{model=\"m\",outcome=\"{outcome}\"}} 1");
    assert!(text.contains(&line), "{body}: no `{line}` in\n{text}");
    body["error"].as_str().unwrap().to_owned()
}

/// A classifier whose two branches all but cancel: the train-time graph loses most digits in f32, and what is fused in f64 does not.
fn cancelling() -> Model {
    let mut graph = Graph::default();
    let mut random = fastrand::Rng::with_seed(7);
    let small: Vec<f32> = (0..10 * 3).map(|_| random.f32() - 0.5).collect();
    let image = graph.add_value(Value {
        dtype: Some(DType::F32),
        shape: Some([None, Some(3), Some(32), Some(32)].map(extent).to_vec()),
        ..Value::named("image")
    });
    let branch = |graph: &mut Graph, name: &str, weights: &[f32]| {
        let weights = graph.add_constant(format!("{name}.weight"), Tensor::from_f32(&[10, 3, 1, 1], weights));
        let sum = graph.add_value(Value::named(name));
        graph.push_node(Node::new("Conv", vec![image, weights], vec![sum]));
        sum
    };
    let large: Vec<f32> = (0..10 * 3).map(|_| 1e7 * (random.f32() - 0.5)).collect();
    let rest: Vec<f32> = large.iter().zip(&small).map(|(large, small)| small - large).collect();
    let branches = vec![branch(&mut graph, "one", &large), branch(&mut graph, "other", &rest)];
    let [sum, mean, logits] = ["sum", "mean", "logits"].map(|name| graph.add_value(Value::named(name)));
    graph.push_node(Node::new("Add", branches, vec![sum]));
    graph.push_node(Node::new("GlobalAveragePool", vec![sum], vec![mean]));
    graph.push_node(Node::new("Flatten", vec![mean], vec![logits]));
    graph.value_mut(logits).dtype = Some(DType::F32);
    graph.inputs.push(image);
    graph.outputs.push(logits);
    Model {
        graph,
        ir_version: 8,
        opsets: vec![(String::new(), 17)],
        ..Model::default()
    }
}

/// An extent of a shape; `None`: any.
fn extent(extent: Option<usize>) -> Dim {
    extent.map_or(Dim::Symbol("batch".to_owned()), Dim::Fixed)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_does_not_verify_never_serves() {
    let models = Models::new(&["m/1"]);
    let mut settings = models.settings(Control::Api);
    settings.verify.otherwise = VerifyOtherwise::Refuse;
    let server = Server::ready(settings).await;
    models.add("m/2");
    fs::write(models.path("m/2/model.onnx"), onnx::write(cancelling()).unwrap()).unwrap();
    let reason = refused(&server, "verification").await;
    let start = "the deploy graph does not compute what the train-time graph does: relative error ";
    assert!(reason.starts_with(start), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_fails_its_int8_gate_never_serves() {
    let models = Models::new(&["m/1"]);
    let server = Server::ready(models.settings(Control::Api)).await;
    models.add("m/2");
    replace(
        &models.path("m/2/model.toml"),
        "file = \"model.onnx\"",
        "file = \"model.onnx\"\nprecision = \"int8\"",
    );
    let text = fs::read_to_string(checkout("models/repvgg-cifar10/calibration.json")).unwrap();
    let mut calibration: serde_json::Value = serde_json::from_str(&text).unwrap();
    calibration["evidence"]["agreement"]["images"] = 250.into();
    calibration["evidence"]["agreement"]["top1_agreement"] = 0.9.into();
    for count in ["images", "only_first", "only_second"] {
        calibration["evidence"]["labelled"][count] = 0.into();
    }
    fs::write(models.path("m/2/calibration.json"), calibration.to_string()).unwrap();
    let reason = refused(&server, "int8_gate").await;
    assert!(reason.contains("that excludes an agreement of 98.00 %"), "{reason}");
}

/// Loads as the server does, and then does something of the test's before the repository hears of it.
struct Meddling {
    settings: Settings,
    loads: Arc<AtomicUsize>,
    after: Box<dyn Fn(usize) + Send + Sync>,
}

impl Loader for Meddling {
    fn load(&self, wanted: Wanted<'_>) -> Result<LoadedModel, LoadError> {
        let mut settings = self.settings.clone();
        settings.model.path = wanted.folder.unwrap().to_owned();
        let served = load(&settings, &Metrics::new().unwrap(), &|_| ()).unwrap();
        (self.after)(self.loads.fetch_add(1, Ordering::SeqCst) + 1);
        Ok(LoadedModel(served))
    }
}

/// A repository whose loader meddles.
struct Meddled {
    repository: Repository,
    serving: Arc<Serving>,
    loads: Arc<AtomicUsize>,
}

impl Meddled {
    /// `after` is called with the number of the load that was just made, from 1 on.
    fn new(models: &Models, after: impl Fn(usize) + Send + Sync + 'static) -> Self {
        let settings = models.settings(Control::Api);
        let (serving, loads) = (Arc::new(Serving::default()), Arc::new(AtomicUsize::new(0)));
        let repository = Repository::new(Parts {
            source: Source::Folder {
                root: settings.models.path.clone(),
                versions: VersionPolicy::Latest,
            },
            settings: settings.models.clone(),
            models: Arc::clone(&serving),
            metrics: Arc::new(Metrics::new().unwrap()),
            loader: Box::new(Meddling {
                settings,
                loads: Arc::clone(&loads),
                after: Box::new(after),
            }),
        });
        Self {
            repository: repository.unwrap(),
            serving,
            loads,
        }
    }

    /// The same once it has loaded all models for the first time.
    async fn loaded(models: &Models, after: impl Fn(usize) + Send + Sync + 'static) -> Self {
        let meddled = Self::new(models, after);
        let repository = meddled.repository.clone();
        tokio::task::spawn_blocking(move || repository.load_all())
            .await
            .unwrap()
            .unwrap();
        meddled
    }

    /// The first label of what is served, which is what the tests change.
    fn label(&self) -> Option<String> {
        let served = self.serving.get(NAME, None)?;
        Some(served.label(0).to_owned())
    }

    fn loads(&self) -> usize {
        self.loads.load(Ordering::SeqCst)
    }
}

/// Calls the first class of the model in `folder` so.
fn relabel(folder: &Path, label: &str) {
    let path = folder.join("labels.txt");
    let text = fs::read_to_string(&path).unwrap();
    let rest = text.split_once('\n').unwrap().1;
    fs::write(path, format!("{label}\n{rest}")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_replaced_while_it_loads_is_read_again() {
    let models = Models::new(&[NAME]);
    let folder = models.path(NAME);
    let meddled = Meddled::loaded(&models, move |load| {
        if load == 1 {
            relabel(&folder, "replaced");
        }
    })
    .await;
    assert_eq!((meddled.label().as_deref(), meddled.loads()), (Some("replaced"), 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_replaced_all_the_time_is_not_loaded_and_the_old_one_goes_on() {
    let models = Models::new(&[NAME]);
    let folder = models.path(NAME);
    let meddled = Meddled::loaded(&models, move |load| {
        if load > 1 {
            relabel(&folder, &format!("replaced {load} times"));
        }
    })
    .await;
    let refused = meddled.repository.load(NAME).await.unwrap_err();
    assert_eq!(refused.to_string(), "the files change while they are read (3 attempts)");
    assert_eq!((meddled.label().as_deref(), meddled.loads()), (Some("airplane"), 4));
    let entry = meddled.repository.index().remove(0);
    assert_eq!((entry.state, entry.reason), ("READY", refused.to_string()));
}

/// What the load of that number does: it says that it is about to end, and waits until it may.
fn held(number: usize) -> (impl Fn(usize) + Send + Sync + 'static, Receiver<()>, Sender<()>) {
    let (arrived, arrival) = channel();
    let (let_go, may_go) = channel::<()>();
    let may_go = Mutex::new(may_go);
    let hold = move |load| {
        if load == number {
            arrived.send(()).unwrap();
            may_go.lock().unwrap().recv().unwrap();
        }
    };
    (hold, arrival, let_go)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_is_requested_while_one_runs_waits_for_it_and_loads_only_what_changed() {
    let models = Models::new(&[NAME]);
    let (hold, arrival, let_go) = held(2);
    let meddled = Meddled::loaded(&models, hold).await;
    let repository = meddled.repository.clone();
    let first = tokio::spawn(async move { repository.load(NAME).await });
    let repository = meddled.repository.clone();
    tokio::task::spawn_blocking(move || {
        arrival.recv().unwrap();
        // Each requests a load.
        repository.reread();
        repository.reread();
    })
    .await
    .unwrap();
    let_go.send(()).unwrap();
    assert!(first.await.unwrap().is_ok());
    // Loads run in the order in which they were requested: once another one has ended, so have those.
    models.add("zebra");
    replace(&models.path("zebra/model.toml"), NAME, "zebra");
    meddled.repository.load("zebra").await.unwrap();
    assert_eq!(meddled.loads(), 3, "one at first, one by request, one of another model");
}

#[tokio::test(flavor = "multi_thread")]
async fn unloading_while_a_load_runs_wins() {
    let models = Models::new(&[NAME]);
    let (hold, arrival, let_go) = held(2);
    let meddled = Meddled::loaded(&models, hold).await;
    let repository = meddled.repository.clone();
    let load = tokio::spawn(async move { repository.load(NAME).await });
    tokio::task::spawn_blocking(move || arrival.recv().unwrap())
        .await
        .unwrap();
    meddled.repository.unload(NAME).await.unwrap();
    assert!(matches!(load.await.unwrap(), Err(Refused::Unloaded)));
    assert_eq!(meddled.label(), None);
    let_go.send(()).unwrap();
    // What the load made is thrown away; the next one serves.
    meddled.repository.load(NAME).await.unwrap();
    assert_eq!((meddled.label().as_deref(), meddled.loads()), (Some("airplane"), 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_vanishes_while_a_model_loads_leaves_what_is_served() {
    let models = Models::new(&[NAME]);
    let root = models.root.path().to_owned();
    let gone = root.with_extension("gone");
    let (from, to) = (root.clone(), gone.clone());
    let meddled = Meddled::loaded(&models, move |load| {
        if load == 2 {
            fs::rename(&from, &to).unwrap();
        }
    })
    .await;
    let refused = meddled.repository.load(NAME).await.unwrap_err().to_string();
    assert!(refused.contains("there is no model"), "{refused}");
    assert_eq!(meddled.label().as_deref(), Some("airplane"));
    let repository = meddled.repository.clone();
    tokio::task::spawn_blocking(move || repository.reread()).await.unwrap();
    assert_eq!(meddled.label().as_deref(), Some("airplane"));
    fs::rename(&gone, &root).unwrap();
    meddled.repository.load(NAME).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_panics_fails_and_the_next_one_does_not() {
    let models = Models::new(&[NAME]);
    let meddled = Meddled::loaded(&models, |load| assert_ne!(load, 2, "on purpose")).await;
    let refused = meddled.repository.load(NAME).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "loading it panicked; this is a bug in the server, and the log has the place"
    );
    assert_eq!(meddled.label().as_deref(), Some("airplane"));
    meddled.repository.load(NAME).await.unwrap();
    assert_eq!(meddled.loads(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_versions_share_is_followed() {
    let models = Models::new(&["m/1"]);
    fs::rename(models.path("m/1/model.toml"), models.path("m/model.toml")).unwrap();
    let server = Server::ready(models.settings(Control::Api)).await;
    let repository = server.shared.repository.clone().unwrap();
    replace(&models.path("m/model.toml"), "\nlabels = \"labels.txt\"\n", "\n");
    tokio::task::spawn_blocking(move || repository.reread()).await.unwrap();
    until("it is loaded without labels", || {
        let served = server.shared.models.primary();
        served.is_some_and(|served| served.label(0) == "0")
    })
    .await;
}
