//! Several models in one process: which there are, and how they are loaded, exchanged and unloaded while requests run.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use repserve::http::{HealthState, Stop};
use repserve::repository::Control;
use serde_json::{Value, json};

use crate::support::images::png;
use crate::support::models::{Models, classified, control, index, replace};
use crate::support::{Server, checkout, until};

#[tokio::test(flavor = "multi_thread")]
async fn models_are_found_by_name_and_version() {
    let models = Models::new(&["flat", "many/1", "many/2", "many/10"]);
    let list = "[repository]\nversions = [1, 10]\n";
    fs::write(models.path("many/model.toml"), list).unwrap();
    let mut settings = models.settings(Control::None);
    settings.models.default = "many".to_owned();
    let server = Server::ready(settings).await;
    for (query, name, version) in [
        ("", "many", "10"),
        ("?model=many&version=1", "many", "1"),
        ("?model=flat", "flat", "1"),
    ] {
        let (status, body) = classified(&server, query).await;
        assert_eq!(
            (status, &body["model"], &body["version"]),
            (200, &json!(name), &json!(version))
        );
    }
    for (query, detail) in [
        ("?model=none", "no model is called \"none\""),
        ("?model=many&version=2", "model \"many\" is served in versions 1, 10"),
        ("?version=3", "model \"many\" is served in versions 1, 10"),
    ] {
        let (status, body) = classified(&server, query).await;
        assert_eq!((status, &body["detail"]), (404, &json!(detail)));
    }
    for (version, status) in [("1", 200), ("2", 404)] {
        let ready = server.get(&format!("/v2/models/many/versions/{version}/ready")).await;
        assert_eq!(ready.status(), status);
    }
    let described: Value = server.get("/v2/models/many").await.json().await.unwrap();
    assert_eq!(described["versions"], json!(["1", "10"]));
    let entry = |name: &str, version: &str| [name, version, "READY"].map(str::to_owned);
    assert_eq!(
        index(&server).await,
        [entry("flat", "1"), entry("many", "1"), entry("many", "10")]
    );
    // Without control, nobody changes what is served.
    let (status, body) = control(&server, "flat", "unload").await;
    assert_eq!((status, &body["code"]), (403, &json!("no_control")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_fails_takes_no_other_down_and_says_why() {
    let models = Models::new(&["good", "bad"]);
    fs::write(models.path("bad/labels.txt"), "one\ntwo\n").unwrap();
    let server = Server::ready(models.settings(Control::None)).await;
    assert_eq!(classified(&server, "?model=good").await.0, 200);
    let (status, body) = classified(&server, "?model=bad").await;
    let why = "model \"bad\" is not served: labels.txt holds 2 labels and the model returns 10 classes for an image";
    let detail = body["detail"].as_str().unwrap();
    assert!(status == 503 && detail.starts_with(why), "{status} {detail}");
    let (status, body) = classified(&server, "").await;
    assert_eq!((status, &body["code"]), (400, &json!("malformed")));
    let text = String::from_utf8(server.shared.metrics.encode().unwrap()).unwrap();
    assert!(
        text.contains("repserve_model_swaps_total{model=\"bad\",outcome=\"other\"} 1"),
        "{text}"
    );
    assert!(
        text.contains("repserve_model_swaps_total{model=\"good\",outcome=\"loaded\"} 1"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_ready_when_the_required_models_are() {
    let models = Models::new(&["good", "bad"]);
    fs::write(models.path("bad/labels.txt"), "one\ntwo\n").unwrap();
    let mut settings = models.settings(Control::Api);
    settings.models.required = vec!["bad".to_owned()];
    let server = Server::loading(settings).await;
    let mut health = server.shared.health.watch();
    health
        .wait_for(|state| matches!(state, HealthState::Incomplete(_)))
        .await
        .unwrap();
    let ready = server.get("/readyz").await;
    assert_eq!(ready.status(), 503);
    let body: Value = ready.json().await.unwrap();
    assert!(
        body["detail"]
            .as_str()
            .unwrap()
            .starts_with("model \"bad\" is required: "),
        "{body}"
    );
    assert_eq!(classified(&server, "?model=good").await.0, 200);
    fs::copy(
        checkout("models/repvgg-cifar10/labels.txt"),
        models.path("bad/labels.txt"),
    )
    .unwrap();
    assert_eq!(control(&server, "bad", "load").await.0, 200);
    health.wait_for(|state| *state == HealthState::Ready).await.unwrap();
    assert_eq!(control(&server, "bad", "unload").await.0, 200);
    health
        .wait_for(|state| matches!(state, HealthState::Incomplete(_)))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn models_are_loaded_and_unloaded_by_request() {
    let models = Models::new(&["one"]);
    let server = Server::ready(models.settings(Control::Api)).await;
    models.add("two");
    assert_eq!(control(&server, "two", "load").await.0, 200);
    assert_eq!(classified(&server, "?model=two").await.0, 200);
    assert_eq!(control(&server, "one", "unload").await.0, 200);
    let (status, body) = classified(&server, "?model=one").await;
    assert_eq!(
        (status, &body["detail"]),
        (503, &json!("model \"one\" is not served: it is not loaded"))
    );
    assert_eq!(index(&server).await[0], ["one", "1", "UNAVAILABLE"].map(str::to_owned));
    for name in ["none", "..", "%2e%2e%2fone", "one%2f..", "%2fetc"] {
        for verb in ["load", "unload"] {
            let (status, _) = control(&server, name, verb).await;
            assert_eq!(status, 404, "{verb} {name}");
        }
    }
    let url = server.url("/v2/repository/models/two/load");
    let parameters = json!({"parameters": {"file:1/model.onnx": "AAAA"}});
    let refused = server.client.post(url).json(&parameters).send().await.unwrap();
    assert_eq!(refused.status(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_must_not_serve_never_does() {
    let models = Models::new(&["m/1"]);
    let golden = models.path("m/1/golden/cat");
    fs::create_dir_all(&golden).unwrap();
    let server = {
        // What the model says of the image is its golden answer.
        let bare = Server::ready(models.settings(Control::None)).await;
        let body = bare.classify(png(1)).await;
        let label = body["predictions"][0]["classes"][0]["label"]
            .as_str()
            .unwrap()
            .to_owned();
        fs::remove_dir_all(models.path("m/1/golden")).unwrap();
        fs::create_dir_all(models.path("m/1/golden").join(&label)).unwrap();
        fs::write(models.path("m/1/golden").join(&label).join("a.png"), png(1)).unwrap();
        bare.say(Stop::Now);
        Server::ready(models.settings(Control::Api)).await
    };
    models.add("m/2");
    fs::create_dir_all(models.path("m/2/golden")).unwrap();
    fs::write(models.path("m/2/golden/b.png"), png(1)).unwrap();
    let wrong = (0..10).map(|class| format!("\"b.png\" = {class}\n"));
    let right = server.classify(png(1)).await["predictions"][0]["classes"][0]["index"]
        .as_u64()
        .unwrap();
    let wrong = wrong.enumerate().find(|(class, _)| *class as u64 != right).unwrap().1;
    fs::write(models.path("m/2/golden/answers.toml"), wrong).unwrap();
    let (status, body) = control(&server, "m", "load").await;
    assert_eq!((status, &body["code"]), (422, &json!("model_refused")));
    assert!(
        body["error"]
            .as_str()
            .unwrap()
            .starts_with("golden answers: b.png: the model says"),
        "{body}"
    );
    assert_eq!(server.classify(png(1)).await["version"], "1");
    let entry = |version: &str, state: &str| ["m", version, state].map(str::to_owned);
    assert_eq!(index(&server).await, [entry("1", "READY"), entry("2", "UNAVAILABLE")]);

    fs::write(models.path("m/2/golden/answers.toml"), format!("\"b.png\" = {right}\n")).unwrap();
    assert_eq!(control(&server, "m", "load").await.0, 200);
    assert_eq!(server.classify(png(1)).await["version"], "2");
    // It finishes what it had admitted first.
    while index(&server).await != [entry("1", "UNAVAILABLE"), entry("2", "READY")] {
        tokio::task::yield_now().await;
    }
    let text = String::from_utf8(server.shared.metrics.encode().unwrap()).unwrap();
    for line in [
        "repserve_model_swaps_total{model=\"m\",outcome=\"golden\"} 1",
        "repserve_model_swaps_total{model=\"m\",outcome=\"swapped\"} 1",
        "version=\"2\"",
    ] {
        assert!(text.contains(line), "no `{line}` in\n{text}");
    }
}

/// Requests without a pause until they are told to stop; returns how many failed.
async fn load(server: &Server, stop: Arc<AtomicBool>, served: Arc<AtomicUsize>) -> usize {
    let mut failed = 0;
    while !stop.load(Ordering::Relaxed) {
        let response = server.post("/classify?model=m", png(1)).send().await;
        match response {
            Ok(response) if response.status() == 200 => served.fetch_add(1, Ordering::Relaxed),
            _ => {
                failed += 1;
                0
            }
        };
    }
    failed
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_lost_while_models_are_exchanged() {
    let models = Models::new(&["m/1"]);
    let mut settings = models.settings(Control::Api);
    settings.models.shadow = 0.5;
    settings.models.shadow_requests = 3;
    let server = Arc::new(Server::ready(settings).await);
    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (server, stop, served) = (Arc::clone(&server), Arc::clone(&stop), Arc::clone(&served));
            tokio::spawn(async move { load(&server, stop, served).await })
        })
        .collect();
    for version in 2..5 {
        models.add(&format!("m/{version}"));
        assert_eq!(control(&server, "m", "load").await.0, 200);
        let (_, body) = classified(&server, "?model=m").await;
        assert_eq!(body["version"], version.to_string());
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        assert_eq!(client.await.unwrap(), 0);
    }
    assert!(served.load(Ordering::Relaxed) > 0);
    let text = String::from_utf8(server.shared.metrics.encode().unwrap()).unwrap();
    assert!(
        text.contains("repserve_model_shadow_requests_total{model=\"m\",outcome=\"agreed\"}"),
        "{text}"
    );
    assert!(!text.contains("outcome=\"disagreed\"}"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_finishes_on_the_version_that_admitted_it() {
    let models = Models::new(&["m/1"]);
    let server = Server::ready(models.settings(Control::Api)).await;
    let first = server.served();
    first.batcher().hold();
    let waiting = tokio::spawn(server.post("/classify", png(1)).send());
    until("it waits", || first.snapshot().queue_depth == 1).await;
    models.add("m/2");
    assert_eq!(control(&server, "m", "load").await.0, 200);
    assert_eq!(server.classify(png(1)).await["version"], "2");
    assert_eq!(index(&server).await[0], ["m", "1", "UNLOADING"].map(str::to_owned));
    first.batcher().release();
    let body: Value = waiting.await.unwrap().unwrap().json().await.unwrap();
    assert_eq!(body["version"], "1");
    drop(first);
    let repository = server.shared.repository.clone().unwrap();
    until("it has ended", || repository.index()[0].state == "UNAVAILABLE").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_in_the_folder_are_followed() {
    let models = Models::new(&["m/1"]);
    let server = Server::ready(models.settings(Control::Watch)).await;
    let repository = server.shared.repository.clone().unwrap();
    let serves = |name: &str, version: &str| {
        let index = repository.index();
        index
            .iter()
            .any(|entry| (entry.name.as_str(), entry.version.as_str(), entry.state) == (name, version, "READY"))
    };
    models.add("m/2");
    until("version 2 is served", || serves("m", "2")).await;
    models.add("other");
    until("the other model is served", || serves("other", "1")).await;
    fs::remove_dir_all(models.path("other")).unwrap();
    until("it is not any more", || !serves("other", "1")).await;
    replace(
        &models.path("m/2/model.toml"),
        "file = \"model.onnx\"",
        "file = \"none.onnx\"",
    );
    until("the fault is noticed", || {
        let index = repository.index();
        index
            .iter()
            .any(|entry| entry.state == "READY" && entry.reason.contains("none.onnx"))
    })
    .await;
    assert_eq!(server.classify(png(1)).await["version"], "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_exchanged_is_followed() {
    // As Kubernetes mounts a ConfigMap or a volume: `m` is a link through `..data`, which is exchanged.
    let models = Models::new(&["..first/m", "..second/m"]);
    replace(
        &models.path("..second/m/model.toml"),
        "version = \"1\"",
        "version = \"2\"",
    );
    std::os::unix::fs::symlink("..first", models.path("..data")).unwrap();
    std::os::unix::fs::symlink("..data/m", models.path("m")).unwrap();
    let server = Server::ready(models.settings(Control::Watch)).await;
    assert_eq!(server.classify(png(1)).await["version"], "1");
    std::os::unix::fs::symlink("..second", models.path("..next")).unwrap();
    fs::rename(models.path("..next"), models.path("..data")).unwrap();
    let shared = server.shared.clone();
    until("the next is served", || {
        shared.models.primary().is_some_and(|served| served.version() == "2")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_vanishes_is_served_on() {
    let models = Models::new(&["m/1"]);
    let server = Server::ready(models.settings(Control::Api)).await;
    let repository = server.shared.repository.clone().unwrap();
    let gone = models.root.path().with_extension("gone");
    fs::rename(models.root.path(), &gone).unwrap();
    repository.reread();
    let (status, body) = control(&server, "m", "load").await;
    assert_eq!(status, 422, "{body}");
    assert_eq!(classified(&server, "?model=m").await.0, 200);
    fs::rename(&gone, models.root.path()).unwrap();
    assert_eq!(control(&server, "m", "load").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn loads_at_once_are_all_answered_and_unloading_wins() {
    let models = Models::new(&["m/1"]);
    let server = Server::ready(models.settings(Control::Api)).await;
    let (first, second) = tokio::join!(control(&server, "m", "load"), control(&server, "m", "load"));
    assert_eq!((first.0, second.0), (200, 200));

    // Either may come first.
    let (loaded, unloaded) = tokio::join!(control(&server, "m", "load"), control(&server, "m", "unload"));
    assert_eq!(unloaded.0, 200);
    match loaded.0 {
        200 => assert_eq!(control(&server, "m", "unload").await.0, 200),
        _ => assert_eq!((loaded.0, &loaded.1["code"]), (409, &json!("unloaded"))),
    }
    assert_eq!(classified(&server, "?model=m").await.0, 503);
    assert_eq!(control(&server, "m", "load").await.0, 200);
    assert_eq!(classified(&server, "?model=m").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn control_stands_on_the_admin_listener_and_needs_a_key() {
    let models = Models::new(&["m"]);
    let keys = tempfile::NamedTempFile::new().unwrap();
    fs::write(keys.path(), "0123456789abcdef\n").unwrap();
    let mut settings = models.settings(Control::Api);
    settings.server.admin_listen = Some(std::net::SocketAddr::from(([127, 0, 0, 1], 0)));
    settings.security.api_keys_file = keys.path().to_owned();
    let server = Server::ready(settings).await;
    let path = "/v2/repository/models/m/load";
    let key = |request: reqwest::RequestBuilder| request.header("x-api-key", "0123456789abcdef");
    let elsewhere = key(server.client.post(server.url(path))).send().await.unwrap();
    assert_eq!(elsewhere.status(), 404);
    let admin = format!("http://{}{path}", server.admin.unwrap());
    assert_eq!(server.client.post(&admin).send().await.unwrap().status(), 401);
    assert_eq!(key(server.client.post(&admin)).send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_models_and_versions_that_are_there_have_series() {
    let models = Models::new(&["m/1", "other"]);
    let server = Server::ready(models.settings(Control::Api)).await;
    let repository = server.shared.repository.clone().unwrap();
    let text = || String::from_utf8(server.shared.metrics.encode().unwrap()).unwrap();
    for label in [
        "repserve_model_load_seconds{model=\"m\",phase=\"verify\",version=\"1\"}",
        "repserve_reparam_blocks_fused{model=\"m\",version=\"1\"}",
        "repserve_reparam_max_relative_error{model=\"other\",version=\"1\"}",
        "repserve_winograd_layers{model=\"m\",version=\"1\"}",
        "repserve_winograd_max_relative_error{model=\"m\",version=\"1\"}",
        "repserve_model_swaps_total{model=\"other\",outcome=\"int8_gate\"} 0",
    ] {
        assert!(text().contains(label), "no `{label}` in\n{}", text());
    }
    for name in ["none", "m%22%2cx%3d%22y"] {
        assert_eq!(control(&server, name, "load").await.0, 404);
        assert_eq!(control(&server, name, "unload").await.0, 404);
        assert_eq!(classified(&server, &format!("?model={name}&version=7")).await.0, 404);
    }
    assert!(
        !text().contains("none") && !text().contains("version=\"7\""),
        "{}",
        text()
    );
    models.add("m/2");
    assert_eq!(control(&server, "m", "load").await.0, 200);
    let of_old = |line: &str| line.contains("model=\"m\"") && line.contains("version=\"1\"");
    assert!(!text().lines().any(of_old), "{}", text());
    fs::remove_dir_all(models.path("other")).unwrap();
    tokio::task::spawn_blocking(move || repository.reread()).await.unwrap();
    assert!(!text().contains("model=\"other\""), "{}", text());
}
