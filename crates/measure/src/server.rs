//! A server of its own process, so that its usage is not mixed with that of the client.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

use super::child::ends_with_its_parent;
use super::load;
use super::process::{Usage, cpu_by_thread_name, usage};

/// A running `repserve serve`; killed when dropped, and when the thread ends that has started it.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

/// The name of the threads that read and write, as `repserve serve` sets it.
const IO_THREADS: &str = "io";

/// How often readiness is asked for.
const POLL: Duration = Duration::from_millis(100);

impl Server {
    /// Starts this executable as a server with `arguments` on a free port and waits until it is ready.
    ///
    /// # Errors
    /// Where it cannot be started, or ends before it is ready.
    pub async fn start(arguments: &[String]) -> anyhow::Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["serve", "--listen", &address.to_string(), "--set", "log.level=warn"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let child = ends_with_its_parent(&mut command).spawn();
        let child = child.context("cannot start the server")?;
        let mut server = Self { child, address };
        while !matches!(load::get(address, "/readyz").await, Ok(200)) {
            if let Some(status) = server.child.try_wait()? {
                bail!("the server ended before it was ready: {status}");
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(server)
    }

    /// What it has used so far.
    ///
    /// # Errors
    /// Where the system has no `/proc`.
    pub fn usage(&self) -> anyhow::Result<Usage> {
        usage(self.child.id()).context("cannot read what the server uses from /proc")
    }

    /// CPU that the threads have used so far that read and write.
    ///
    /// # Errors
    /// Where the system has no `/proc`.
    pub fn io_cpu(&self) -> anyhow::Result<Duration> {
        let by_name = cpu_by_thread_name(self.child.id()).context("cannot read the server's threads from /proc")?;
        Ok(by_name.get(IO_THREADS).copied().unwrap_or_default())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended by itself cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
