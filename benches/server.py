"""A server in a CPU cgroup of its own (version 1 or 2, needs root), and the load on it."""

import contextlib
import http.client
import json
import os
import pathlib
import re
import subprocess
import tempfile
import threading
import time

PERIOD_US = 100_000
LUA = 'wrk.method = "POST"\nwrk.headers["content-type"] = "image/jpeg"\nwrk.body = io.open("{image}", "rb"):read("*a")\n'


class Group:
    """A CPU cgroup with a quota in cores; None is no quota."""

    def __init__(self, quota):
        v1, v2 = pathlib.Path("/sys/fs/cgroup/cpu"), pathlib.Path("/sys/fs/cgroup")
        self.is_v1 = v1.is_dir()
        self.path = (v1 if self.is_v1 else v2) / f"repserve-quota-{time.monotonic_ns()}"
        self.path.mkdir()
        self.set(quota)

    def set(self, quota):
        quota_us = None if quota is None else round(quota * PERIOD_US)
        if self.is_v1:
            self._write("cpu.cfs_period_us", PERIOD_US)
            self._write("cpu.cfs_quota_us", -1 if quota_us is None else quota_us)
        else:
            self._write("cpu.max", f"{'max' if quota_us is None else quota_us} {PERIOD_US}")

    def _write(self, name, value):
        (self.path / name).write_text(str(value))

    def close(self):
        with contextlib.suppress(OSError):
            self.path.rmdir()


class Server:
    """`repserve serve` in a group; `seconds` is what its start took."""

    def __init__(self, binary, group, model=None, sets=()):
        self.log = tempfile.NamedTemporaryFile("w+b")
        command = [binary, "serve", "--listen", "127.0.0.1:0", "--set", "log.format=json"]
        command += ["--model", model] if model else []
        for one in sets:
            command += ["--set", one]
        join = f"echo $$ > {group.path}/cgroup.procs && "
        start = time.monotonic()
        self.process = subprocess.Popen(
            ["sh", "-c", join + 'exec "$@"', "sh", *command], stderr=self.log, stdout=subprocess.DEVNULL
        )
        self.address = self._address()
        while self.get("/readyz")[0] != 200:
            time.sleep(0.01)
        self.seconds = time.monotonic() - start
        models = json.loads(self.get("/v2/repository/index", "POST")[1])
        self.model = json.loads(self.get(f"/v2/models/{models[0]['name']}")[1])

    def _address(self):
        for _ in range(3000):
            for line in pathlib.Path(self.log.name).read_text().splitlines():
                fields = json.loads(line)
                fields = {**fields, **fields.get("fields", {})}
                if fields.get("address"):
                    host, port = fields["address"].rsplit(":", 1)
                    return host, int(port)
            if self.process.poll() is not None:
                break
            time.sleep(0.01)
        raise SystemExit("the server does not start: " + pathlib.Path(self.log.name).read_text())

    def get(self, path, method="GET"):
        """Status and body; status 0 where the connection ended without a response."""
        connection = http.client.HTTPConnection(*self.address, timeout=30)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.read()
        except OSError:
            return 0, b""
        finally:
            connection.close()

    def close(self):
        self.process.terminate()
        self.process.wait(60)


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


def load(server, image, connections, seconds):
    """Images a second, and the 50th and 99th percentile of the latency in ms, by wrk."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(LUA.format(image=os.path.abspath(image)))
        script.flush()
        url = "http://{}:{}/classify".format(*server.address)
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "20s", "-s", script.name, url]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        raise SystemExit(f"a request failed:\n{text}")
    units = {"us": 1e-3, "ms": 1.0, "s": 1e3}
    percentiles = {p: float(n) * units[u] for p, n, u in re.findall(r"(50|99)%\s+([\d.]+)(us|ms|s)", text)}
    return float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]), percentiles["50"], percentiles["99"]


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
