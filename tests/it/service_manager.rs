//! What a service manager such as systemd is told, over a real socket.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::client;
use crate::support::process::Process;

/// Receives as the manager does.
struct Manager {
    socket: UnixDatagram,
    folder: TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { socket, folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("notify")
    }

    fn next(&self) -> String {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).expect("a message within a minute");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    /// The first message with this line, and those before it.
    fn until(&self, line: &str) -> (String, Vec<String>) {
        let mut before = Vec::new();
        loop {
            let message = self.next();
            if message.lines().any(|one| one == line) {
                return (message, before);
            }
            before.push(message);
        }
    }

    async fn start(&self, watchdog_us: Option<u64>, sets: &[&str]) -> Process {
        let mut environment = vec![("NOTIFY_SOCKET", self.path().display().to_string())];
        environment.extend(watchdog_us.map(|us| ("WATCHDOG_USEC", us.to_string())));
        Process::start_with(&environment, sets).await
    }
}

fn value<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    message
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}

#[tokio::test(flavor = "multi_thread")]
async fn starting_reloading_and_stopping_are_told() {
    let manager = Manager::new();
    let mut server = manager.start(None, &["server.drain_delay_ms=0"]).await;
    let (ready, before) = manager.until("READY=1");
    assert_eq!(ready, "READY=1\nSTATUS=ready\n");
    assert!(
        before.iter().all(|m| m.starts_with("STATUS=loading (phase: ")),
        "{before:?}"
    );
    let response = client()
        .get(format!("http://{}/readyz", server.address))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);

    server.signal("HUP");
    let (reloading, _) = manager.until("RELOADING=1");
    let us: u64 = value(&reloading, "MONOTONIC_USEC").unwrap().parse().unwrap();
    assert!(us > 0);
    let (again, between) = manager.until("READY=1");
    assert_eq!((again.as_str(), between), ("READY=1\nSTATUS=ready\n", Vec::new()));

    server.terminate();
    let (stopping, between) = manager.until("STOPPING=1");
    assert_eq!(
        (stopping.as_str(), between),
        ("STOPPING=1\nSTATUS=draining\n", Vec::new())
    );
    assert!(server.ended_well());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watchdog_hears_from_a_server_that_answers() {
    let manager = Manager::new();
    let _server = manager.start(Some(20_000), &[]).await;
    for _ in 0..3 {
        manager.until("WATCHDOG=1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watchdog_of_another_process_is_not_told() {
    let manager = Manager::new();
    let environment = [
        ("NOTIFY_SOCKET", manager.path().display().to_string()),
        ("WATCHDOG_USEC", "2000".to_owned()),
        ("WATCHDOG_PID", "1".to_owned()),
    ];
    let mut server = Process::start_with(&environment, &["server.drain_delay_ms=50"]).await;
    server.terminate();
    let (_, before) = manager.until("STOPPING=1");
    assert!(!before.iter().any(|message| message.contains("WATCHDOG")), "{before:?}");
    assert!(server.ended_well());
}
