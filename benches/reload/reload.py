"""Reloads a model again and again under load, and says what that cost: requests that failed, p99, memory, threads and open files. Before that it
says what the models cost while nothing is asked of them: seconds of CPU in ten seconds.

    python3 benches/reload/reload.py target/release/repserve [--reloads 100] [--connections 4] [--models 1] [--model DIR]

Needs wrk (https://github.com/wg/wrk) and nothing else. Exits with 1 where a bound is not kept: no request failed, p99 at most 1.3 times that without (1.5 with two
cores), memory within 5 % of that after the third reload, no thread and no file left over, less than a thousandth of a core while idle.
"""

import argparse
import json
import os
import pathlib
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).parents[2]
MODEL = ROOT / "models/repvgg-cifar10"
IDLE_SECONDS = 10
LUA = """
wrk.method = "POST"
wrk.headers["content-type"] = "application/octet-stream"
local file = io.open(os.getenv("IMAGE"), "rb")
wrk.body = file:read("*a")
failed = 0
function setup(thread) threads = threads or {}; table.insert(threads, thread) end
function response(status) if status ~= 200 then failed = failed + 1 end end
function done(summary, latency)
  local failed = 0
  for _, thread in ipairs(threads) do failed = failed + thread:get("failed") end
  local errors = summary.errors
  local sockets = errors.connect + errors.read + errors.write + errors.timeout
  print(string.format("RESULT %d %d %d %f", summary.requests, failed, sockets, latency:percentile(99) / 1000))
end
"""


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program")
    parser.add_argument("--reloads", type=int, default=100)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--models", type=int, default=1)
    parser.add_argument("--model", type=pathlib.Path, default=MODEL)
    parser.add_argument("--seconds", type=int, default=10, help="of load without reloads")
    parser.add_argument("--image", help="default: 32x32 pixels of noise")
    return parser.parse_args()


def bitmap(side):
    """A picture of noise."""
    pixels = random.Random(1).randbytes(side * side * 3)
    head = struct.pack("<2sIHHI", b"BM", 54 + len(pixels), 0, 0, 54)
    return head + struct.pack("<IiiHHIIiiII", 40, side, side, 1, 24, 0, len(pixels), 2835, 2835, 0, 0) + pixels


def post(url, timeout=600):
    request = urllib.request.Request(url, data=b"", method="POST")
    with urllib.request.urlopen(request, timeout=timeout) as response:
        return response.status


def measured(pid):
    """Private memory in KiB, threads and open files of a process."""
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    private = sum(int(n) for n in re.findall(r"^Private_\w+:\s+(\d+)", text, re.M))
    return {
        "private_kib": private,
        "threads": len(os.listdir(f"/proc/{pid}/task")),
        "files": len(os.listdir(f"/proc/{pid}/fd")),
    }


def cpu_seconds(pid):
    """CPU time of each thread of a process so far, to the nanosecond."""
    tasks = pathlib.Path(f"/proc/{pid}/task").iterdir()
    return {task.name: int((task / "schedstat").read_text().split()[0]) / 1e9 for task in tasks}


def idle(pid):
    """Seconds of CPU of all threads in so many seconds in which nothing is asked."""
    time.sleep(3)
    before = cpu_seconds(pid)
    time.sleep(IDLE_SECONDS)
    return sum(seconds - before.get(name, 0) for name, seconds in cpu_seconds(pid).items())


def wrk(url, script, connections, seconds, image):
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "60s", "-s", script, url]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "IMAGE": image})


def result(load):
    text, _ = load.communicate()
    requests, failed, sockets, p99 = re.search(r"RESULT (\d+) (\d+) (\d+) ([\d.]+)", text).groups()
    return {"requests": int(requests), "failed": int(failed) + int(sockets), "p99_ms": float(p99)}


def reload(url, count, pid, marks):
    for index in range(1, count + 1):
        assert post(url) == 200
        if index in (3, count):
            time.sleep(0.5)
            marks[index] = measured(pid)


def main():
    options = arguments()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        models = folder / "models"
        for index in range(options.models):
            shutil.copytree(options.model, models / f"m{index}")
        script = folder / "load.lua"
        script.write_text(LUA)
        image = options.image or str(folder / "image.bmp")
        (folder / "image.bmp").write_bytes(bitmap(32))
        log = folder / "log"
        command = [options.program, "serve", "--models", str(models), "--listen", "127.0.0.1:0"]
        command += ["--set", "models.control=api", "--set", "log.format=json", "--set", "server.drain_delay_ms=0"]
        server = subprocess.Popen(command, stderr=log.open("wb"))
        try:
            while '"message":"ready"' not in log.read_text():
                assert server.poll() is None, log.read_text()
                time.sleep(0.05)
            address = re.search(r'"address":"([^"]+)"', log.read_text())[1]
            classify = f"http://{address}/classify?model=m0"
            load = f"http://{address}/v2/repository/models/m0/load"
            idle_seconds = idle(server.pid)
            before = result(wrk(classify, str(script), options.connections, options.seconds, image))
            marks, began = {}, time.monotonic()
            reloading = threading.Thread(target=reload, args=(load, options.reloads, server.pid, marks))
            reloading.start()
            during = []
            while reloading.is_alive():
                during.append(result(wrk(classify, str(script), options.connections, 5, image)))
            took = time.monotonic() - began
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(60)
    early, late = marks[min(marks)], marks[max(marks)]
    p99 = sorted(one["p99_ms"] for one in during)[len(during) // 2]
    report = {
        "idle_cpu_seconds": round(idle_seconds, 4),
        "reloads": options.reloads,
        "seconds": round(took, 1),
        "requests": sum(one["requests"] for one in during),
        "failed": before["failed"] + sum(one["failed"] for one in during),
        "p99_ms_without": round(before["p99_ms"], 2),
        "p99_ms_during": round(p99, 2),
        "p99_ratio": round(p99 / before["p99_ms"], 2),
        "after_3": early,
        "after_all": late,
        "memory_ratio": round(late["private_kib"] / early["private_kib"], 3),
    }
    print(json.dumps(report, indent=2))
    bound = 1.5 if (os.cpu_count() or 1) <= 2 else 1.3
    kept = report["failed"] == 0 and report["p99_ratio"] <= bound and report["memory_ratio"] <= 1.05
    kept &= late["threads"] <= early["threads"] and late["files"] <= early["files"]
    kept &= idle_seconds < IDLE_SECONDS / 1000
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
