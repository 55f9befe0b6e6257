//! The real binary as a process.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use super::binary::repserve;
use super::cgroup::Cgroup;
use super::client;

/// A server in a process of its own; killed when dropped.
pub struct Process {
    child: Child,
    pub address: SocketAddr,
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
    #[allow(dead_code, reason = "not all test binaries use it")]
    pub async fn start_with(environment: &[(&str, String)], sets: &[&str]) -> Self {
        let mut command = repserve(&serve(sets));
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        Self::begun(&mut command, true).await
    }

    /// The same with a log that is not read any more once the server listens: its pipe is closed.
    pub async fn start_unheard(sets: &[&str]) -> Self {
        Self::start_heard(sets, false).await
    }

    /// The same in a shell that has run `setup`, such as `ulimit -n 400`.
    #[allow(dead_code, reason = "only the tests that attack use it")]
    pub async fn start_after(setup: &str, sets: &[&str]) -> Self {
        let direct = repserve(&serve(sets));
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{setup} && exec \"$@\""), "sh"]);
        shell.arg(direct.get_program()).args(direct.get_args());
        for (name, _) in direct.get_envs() {
            shell.env_remove(name);
        }
        Self::begun(shell.stdin(Stdio::null()), true).await
    }

    /// The same in a memory cgroup.
    #[allow(dead_code, reason = "only the tests that attack use it")]
    pub async fn start_within(group: &Cgroup, sets: &[&str]) -> Self {
        let join = format!("echo $$ > '{}'", group.processes().display());
        Self::start_after(&join, sets).await
    }

    async fn start_heard(sets: &[&str], heard: bool) -> Self {
        Self::begun(&mut repserve(&serve(sets)), heard).await
    }

    async fn begun(command: &mut Command, heard: bool) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = loop {
            let line: serde_json::Value = serde_json::from_str(&log.next().unwrap().unwrap()).unwrap();
            if let Some(address) = line["address"].as_str() {
                break address.parse().unwrap();
            }
        };
        if heard {
            std::thread::spawn(move || log.for_each(drop));
        } else {
            drop(log);
        }
        let process = Self { child, address };
        let client = client();
        let url = format!("http://{}/readyz", process.address);
        loop {
            if client.get(&url).send().await.is_ok_and(|r| r.status() == 200) {
                return process;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends a signal, such as `HUP`.
    pub fn signal(&self, name: &str) {
        let (signal, pid) = (format!("-{name}"), self.child.id().to_string());
        assert!(Command::new("kill").args([signal, pid]).status().unwrap().success());
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
    #[allow(dead_code, reason = "the attack tests use it")]
    pub fn peak_bytes(&self) -> u64 {
        self.status_bytes("VmHWM:")
    }

    /// Measures [`Self::peak_bytes`] from now on.
    #[allow(dead_code, reason = "the attack tests use it")]
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
