//! A log that is not read, and floods of refused requests.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::binary::{repserve, run, stderr};

/// Longer than anything here takes, shorter than for ever.
const PATIENCE: Duration = Duration::from_secs(60);
/// Requests that are sent over one connection.
const PIPELINED: usize = 50;

/// A server in a process of its own whose log is read only by who asks for it; killed when dropped.
struct Server {
    child: Child,
    address: SocketAddr,
    log: BufReader<ChildStderr>,
    /// Kills a server that says nothing for too long: reading its log ends then.
    _watch: mpsc::Sender<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts it and waits until it is ready.
    fn start(sets: &[&str]) -> Self {
        let mut args = vec!["serve", "--listen", "127.0.0.1:0", "--set", "log.format=json"];
        args.extend(["--set", "server.drain_delay_ms=0"]);
        args.extend(sets.iter().flat_map(|set| ["--set", *set]));
        let mut command = repserve(&args);
        command.env("OTEL_BSP_SCHEDULE_DELAY", "50");
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let pid = child.id();
        let mut server = Self {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            log,
            _watch: watch(pid),
        };
        server.address = server.until("listening")["address"].as_str().unwrap().parse().unwrap();
        server.until("ready");
        server
    }

    /// Reads the log up to the line whose message this is.
    fn until(&mut self, message: &str) -> Value {
        loop {
            let mut line = String::new();
            assert!(
                self.log.read_line(&mut line).unwrap() > 0,
                "the log ended before {message:?}"
            );
            let line: Value = serde_json::from_str(&line).unwrap();
            if line["message"].as_str().is_some_and(|found| found.starts_with(message)) {
                return line;
            }
        }
    }

    /// Sends this on one connection and returns everything that comes back.
    fn exchange(&self, sent: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(sent.as_bytes()).unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
        String::from_utf8_lossy(&received).into_owned()
    }

    fn get(&self, path: &str) -> String {
        self.exchange(&format!(
            "GET {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n"
        ))
    }

    /// Requests `count` times a path that is not there; each gets a response.
    fn refuse(&self, count: usize) {
        const REQUEST: &str = "GET /nowhere HTTP/1.1\r\nhost: here\r\n\r\n";
        const LAST: &str = "GET /nowhere HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n";
        for _ in 0..count.div_ceil(PIPELINED) {
            let received = self.exchange(&(REQUEST.repeat(PIPELINED - 1) + LAST));
            assert_eq!(received.matches("HTTP/1.1 404").count(), PIPELINED);
        }
    }

    /// The value of a metric; 0 where it is not there.
    fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics");
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Sends SIGTERM and waits for the end.
    fn terminated(&mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "SIGTERM was not heard");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Kills process `pid` in two minutes, unless what this returns is dropped before.
fn watch(pid: u32) -> mpsc::Sender<()> {
    let (alive, watched) = mpsc::channel();
    std::thread::spawn(move || {
        if watched.recv_timeout(2 * PATIENCE) == Err(RecvTimeoutError::Timeout) {
            let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
        }
    });
    alive
}

const DROPPED: &str = "repserve_log_lines_dropped_total";

#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let mut server = Server::start(&["log.level=debug"]);
    let end = Instant::now() + PATIENCE;
    while server.metric(DROPPED) == 0.0 {
        assert!(Instant::now() < end, "nothing was dropped");
        server.refuse(2000);
    }
    assert!(server.get("/livez").starts_with("HTTP/1.1 200"));
    assert!(server.terminated().success());
}

#[test]
fn a_log_that_is_read_again_says_what_is_missing() {
    let mut server = Server::start(&["log.level=debug"]);
    let end = Instant::now() + PATIENCE;
    while server.metric(DROPPED) == 0.0 {
        assert!(Instant::now() < end, "nothing was dropped");
        server.refuse(2000);
    }
    let line = server.until("lines of this log were dropped");
    assert!(line["lines"].as_u64().unwrap() > 0, "{line}");
    assert_eq!(line["level"], "WARN");
}

#[test]
fn a_flood_of_refusals_is_a_few_lines() {
    const REQUESTS: usize = 20_000;
    let mut server = Server::start(&[]);
    let start = Instant::now();
    server.refuse(REQUESTS);
    for _ in 0..200 {
        assert!(server.exchange("what is this\r\n\r\n").starts_with("HTTP/1.1 400"));
    }
    let took = start.elapsed();
    assert!(server.terminated().success());
    let mut log = String::new();
    server.log.read_to_string(&mut log).unwrap();
    assert!(
        log.len() as f64 <= 10_000.0 * took.as_secs_f64().max(1.0),
        "{} bytes in {took:?}",
        log.len()
    );
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let refused: Vec<Value> = lines.filter(|line| line["message"] == "requests refused").collect();
    let of = |code: u16| refused.iter().find(|line| line["code"] == code).unwrap();
    assert_eq!(of(404)["detail"], "there is nothing at /nowhere");
    assert_eq!(of(404)["id"].as_str().unwrap().len(), 36);
    assert_eq!(of(400)["route"], "other");
}

#[test]
fn unknown_levels_are_refused() {
    for level in ["infoo", "info,repserve=debg", ""] {
        let output = run(&[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--set",
            &format!("log.level={level}"),
        ]);
        assert_eq!(output.status.code(), Some(2), "{level}");
        let said = stderr(&output);
        assert!(
            said.contains("`log.level` (flag --set): wants a string (error, warn, info, debug, trace or off"),
            "{said}"
        );
    }
}

#[cfg(feature = "otlp")]
#[test]
fn a_collector_that_is_not_there_is_one_warning() {
    // A port that was free a moment ago.
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut server = Server::start(&[&format!("trace.otlp_endpoint=http://{closed}")]);
    server.refuse(1000);
    let line = server.until("spans were lost");
    assert_eq!(line["level"], "WARN");
    server.refuse(2000);
    assert!(server.terminated().success());
    let mut log = String::new();
    server.log.read_to_string(&mut log).unwrap();
    let again = log.lines().filter(|line| line.contains("spans")).count();
    assert!(again <= 1, "{log}");
}
