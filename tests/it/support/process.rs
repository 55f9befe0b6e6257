//! The real binary as a process.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::binary::repserve;
use super::cgroup::Cgroup;
use super::client;

/// A server in a process of its own; killed when dropped.
pub struct Process {
    child: Child,
    pub address: SocketAddr,
    /// Where gRPC is served, if it is.
    pub grpc: Option<SocketAddr>,
    log: Option<Log>,
}

/// The lines that it logs from the one on that names its address.
struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    reader: JoinHandle<()>,
}

impl Log {
    fn read(log: impl Iterator<Item = String> + Send + 'static) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&lines);
        let reader = std::thread::spawn(move || log.for_each(|line| to.lock().unwrap().push(line)));
        Self { lines, reader }
    }
}

/// The arguments of a server on a free port that logs JSON.
fn serve<'a>(sets: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["serve", "--listen", "127.0.0.1:0", "--set", "log.format=json"];
    args.extend(sets.iter().flat_map(|set| ["--set", *set]));
    args
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    /// Starts it on a free port, which its log names, and waits until it is ready.
    pub async fn start(sets: &[&str]) -> Self {
        Self::start_heard(sets, true).await
    }

    /// The same with these variables in its environment.
    pub async fn start_with(environment: &[(&str, String)], sets: &[&str]) -> Self {
        let mut command = repserve(&serve(sets));
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        Self::listening(&mut command, true).ready().await
    }

    /// The same with a log that is not read any more once the server listens: its pipe is closed.
    pub async fn start_unheard(sets: &[&str]) -> Self {
        Self::start_heard(sets, false).await
    }

    /// The same in a shell that has run `setup`, such as `ulimit -n 400`.
    pub async fn start_after(setup: &str, sets: &[&str]) -> Self {
        Self::listening_after(setup, sets).ready().await
    }

    /// Starts it, in a shell that has run `setup`, and waits until it listens.
    pub fn listening_after(setup: &str, sets: &[&str]) -> Self {
        let direct = repserve(&serve(sets));
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{setup} && exec \"$@\""), "sh"]);
        shell.arg(direct.get_program()).args(direct.get_args());
        for (name, _) in direct.get_envs() {
            shell.env_remove(name);
        }
        Self::listening(shell.stdin(Stdio::null()), true)
    }

    /// The same in a memory cgroup.
    pub async fn start_within(group: &Cgroup, sets: &[&str]) -> Self {
        let join = format!("echo $$ > '{}'", group.processes().display());
        Self::start_after(&join, sets).await
    }

    async fn start_heard(sets: &[&str], heard: bool) -> Self {
        Self::listening(&mut repserve(&serve(sets)), heard).ready().await
    }

    fn listening(command: &mut Command, heard: bool) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let (address, grpc) = loop {
            let line: serde_json::Value = serde_json::from_str(&log.next().unwrap().unwrap()).unwrap();
            if let Some(address) = line["address"].as_str() {
                let grpc = line["grpc"].as_str().map(|grpc| grpc.parse().unwrap());
                break (address.parse().unwrap(), grpc);
            }
        };
        let log = if heard {
            Some(Log::read(log.map_while(Result::ok)))
        } else {
            drop(log);
            None
        };
        Self {
            child,
            address,
            grpc,
            log,
        }
    }

    /// The same once it is ready.
    pub async fn ready(mut self) -> Self {
        let client = client();
        let url = format!("http://{}/readyz", self.address);
        while !client.get(&url).send().await.is_ok_and(|r| r.status() == 200) {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended before it was ready: {ended:?}");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        self
    }

    /// Sends a signal, by its name.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for its end: how that was, and what it logged meanwhile.
    pub fn ended(mut self) -> (ExitStatus, Vec<String>) {
        let status = self.child.wait().unwrap();
        let lines = self.log.take().map(|log| {
            log.reader.join().unwrap();
            std::mem::take(&mut *log.lines.lock().unwrap())
        });
        (status, lines.unwrap_or_default())
    }

    /// Whether a line that it has logged by now contains `text`.
    pub fn has_logged(&self, text: &str) -> bool {
        let log = self.log.as_ref();
        log.is_some_and(|log| log.lines.lock().unwrap().iter().any(|line| line.contains(text)))
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Waits for its end; whether that was without an error.
    pub fn ended_well(&mut self) -> bool {
        self.child.wait().unwrap().success()
    }

    /// Memory that it has resident now, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.status_bytes("VmRSS:")
    }

    /// The most memory that it had resident since its start, or since [`Self::forget_peak`], in bytes.
    pub fn peak_bytes(&self) -> u64 {
        self.status_bytes("VmHWM:")
    }

    /// Measures [`Self::peak_bytes`] from now on.
    pub fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").unwrap();
    }

    fn status_bytes(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// The value of a metric, named with its labels as Prometheus' text has it; 0 where it is not there.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = client().get(format!("http://{}/metrics", self.address));
        let text = text.send().await.unwrap().text().await.unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().unwrap())
    }
}
