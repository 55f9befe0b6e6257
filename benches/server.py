"""What the benches share: a server of its own process, in a control group where it is to have limits, requests to it, and load by wrk."""

import contextlib
import http.client
import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import threading
import time

PERIOD_US = 100_000
# Which argument of `serve` makes the log name an address, by how the log calls it.
LISTENERS = {"address": "server.listen", "admin": "server.admin_listen", "grpc": "server.grpc_listen"}
LUA = """
wrk.method = "POST"
wrk.headers["content-type"] = "application/octet-stream"
wrk.body = io.open("{image}", "rb"):read("*a")
function setup(thread) threads = threads or {{}}; table.insert(threads, thread) end
failed = 0
function response(status) if status ~= 200 then failed = failed + 1 end end
function done(summary, latency)
  local failed = 0
  for _, thread in ipairs(threads) do failed = failed + thread:get("failed") end
  local errors = summary.errors
  failed = failed + errors.connect + errors.read + errors.write + errors.timeout
  print(string.format("RESULT %d %d %f %f %f", summary.requests, failed, summary.duration / 1e6, latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
"""


class Group:
    """A control group (version 1 or 2, needs root) with a quota in cores and a limit of memory; None is no limit."""

    def __init__(self, quota=None, memory_mb=None):
        root, name = pathlib.Path("/sys/fs/cgroup"), f"repserve-bench-{time.monotonic_ns()}"
        self.is_v1 = (root / "cpu").is_dir()
        kinds = ["cpu", "memory"] if self.is_v1 else [""]
        self.paths = {kind: root / kind / name for kind in kinds}
        for path in self.paths.values():
            path.mkdir()
        self.set(quota)
        if memory_mb:
            limit = "memory.limit_in_bytes" if self.is_v1 else "memory.max"
            self._write("memory", limit, memory_mb << 20)

    def set(self, quota):
        quota_us = None if quota is None else round(quota * PERIOD_US)
        if self.is_v1:
            self._write("cpu", "cpu.cfs_period_us", PERIOD_US)
            self._write("cpu", "cpu.cfs_quota_us", -1 if quota_us is None else quota_us)
        elif quota_us is not None or (self.paths[""] / "cpu.max").exists():
            self._write("cpu", "cpu.max", f"{'max' if quota_us is None else quota_us} {PERIOD_US}")

    def _write(self, kind, name, value):
        (self.paths[kind if self.is_v1 else ""] / name).write_text(str(value))

    def joining(self, command):
        """The same command, run within the group."""
        join = "".join(f"echo $$ > {path}/cgroup.procs && " for path in self.paths.values())
        return ["sh", "-c", join + 'exec "$@"', "sh", *command]

    def close(self):
        for path in self.paths.values():
            with contextlib.suppress(OSError):
                path.rmdir()


def request(address, method, path, body=None, headers=None, timeout=60):
    """Status and body; status 0 where the connection ended without a response."""
    connection = http.client.HTTPConnection(*address, timeout=timeout)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.read()
    except OSError:
        return 0, b""
    finally:
        connection.close()


class Server:
    """`repserve serve` on free ports, one for each of `listeners`, ready; `seconds` is what its start took, `addresses` are (host, port)."""

    def __init__(self, binary, arguments=(), sets=(), group=None, listeners=("address",)):
        self.log = tempfile.NamedTemporaryFile("w+b")
        command = [binary, "serve", *arguments]
        ports = [f"{LISTENERS[listener]}=127.0.0.1:0" for listener in listeners]
        for one in ["log.format=json", "server.drain_delay_ms=0", *ports, *sets]:
            command += ["--set", one]
        command = group.joining(command) if group else command
        start = time.monotonic()
        self.process = subprocess.Popen(command, stderr=self.log, stdout=subprocess.DEVNULL)
        try:
            self.addresses = self._addresses(listeners)
            while self.get("/readyz")[0] != 200:
                self._check()
                time.sleep(0.01)
        except BaseException:
            self.process.kill()
            raise
        self.address, self.seconds = self.addresses["address"], time.monotonic() - start

    def _check(self):
        if self.process.poll() is not None:
            raise SystemExit("the server does not start: " + pathlib.Path(self.log.name).read_text())

    def _addresses(self, listeners):
        while True:
            for line in pathlib.Path(self.log.name).read_text().splitlines():
                fields = json.loads(line)
                if all(fields.get(listener) for listener in listeners):
                    split = {listener: fields[listener].rsplit(":", 1) for listener in listeners}
                    return {listener: (host, int(port)) for listener, (host, port) in split.items()}
            self._check()
            time.sleep(0.01)

    def get(self, path, method="GET"):
        """Status and body; by the second listener where there is one."""
        return request(self.addresses.get("admin", self.addresses["address"]), method, path)

    def model(self):
        """What it says about its first model."""
        models = json.loads(self.get("/v2/repository/index", "POST")[1])
        return json.loads(self.get(f"/v2/models/{models[0]['name']}")[1])

    def status_mb(self, key):
        """A line of /proc/PID/status that is a size: VmRSS is now, VmHWM at its most."""
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(text.split(key + ":")[1].split()[0]) / 1024

    def private_kib(self):
        text = pathlib.Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        return sum(int(n) for n in re.findall(r"^Private_\w+:\s+(\d+)", text, re.M))

    def threads(self):
        """The names of its threads."""
        return sorted((task / "comm").read_text().strip() for task in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir())

    def files(self):
        """How many files it has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def cpu_seconds(self):
        """CPU time that it has used so far, in ticks of the system."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def cpu_seconds_by_thread(self):
        """That of the threads that there are, to the nanosecond, by their numbers."""
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task").iterdir()
        return {task.name: int((task / "schedstat").read_text().split()[0]) / 1e9 for task in tasks}

    def cpu_seconds_exactly(self):
        """That of all threads that there are, to the nanosecond; none of them may end meanwhile."""
        return sum(self.cpu_seconds_by_thread().values())

    def close(self):
        """Ends it; whether it still ran."""
        alive = self.process.poll() is None
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        return alive


def find(value, key):
    """The first member `key` of nested JSON."""
    if isinstance(value, dict):
        if key in value:
            return value[key]
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            found = find(one, key)
            if found is not None:
                return found
    return None


def load(address, image, connections, seconds, path="/classify"):
    """What wrk sees: requests, failed ones, images a second, 50th and 99th percentile of the latency in ms."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(LUA.format(image=os.path.abspath(image)))
        script.flush()
        url = "http://{}:{}".format(*address) + path
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "60s", "-s", script.name, url]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    requests, failed, took, p50, p99 = re.search(r"RESULT (\d+) (\d+) ([\d.]+) ([\d.]+) ([\d.]+)", text).groups()
    rate = int(requests) / float(took)
    return {"requests": int(requests), "failed": int(failed), "rate": rate, "p50": float(p50), "p99": float(p99)}


class Probes:
    """Asks /livez every 10 ms beside the load; `latencies_ms` when the block has ended."""

    def __init__(self, server):
        self.server, self.latencies_ms, self.over = server, [], threading.Event()

    def __enter__(self):
        self.thread = threading.Thread(target=self._ask)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def _ask(self):
        while not self.over.wait(0.01):
            start = time.monotonic()
            self.server.get("/livez")
            self.latencies_ms.append((time.monotonic() - start) * 1e3)

    def percentile(self, share):
        return sorted(self.latencies_ms)[int(len(self.latencies_ms) * share)]


@contextlib.contextmanager
def spinners(count):
    """Processes that each want a core all the time."""
    running = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()
