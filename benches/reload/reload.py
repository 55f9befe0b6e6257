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
import shutil
import statistics
import struct
import sys
import tempfile
import threading
import time

sys.path.append(str(pathlib.Path(__file__).parents[1]))

from server import Server, load, request  # noqa: E402

ROOT = pathlib.Path(__file__).parents[2]
MODEL = ROOT / "models/repvgg-cifar10"
IDLE_SECONDS = 10
LOAD_SECONDS = 5
# Longer than a thread of the pool for work that blocks stays without work (tokio: 10 s).
SETTLE_SECONDS = 12


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program")
    parser.add_argument("--reloads", type=int, default=100)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--models", type=int, default=1)
    parser.add_argument("--model", type=pathlib.Path, default=MODEL)
    parser.add_argument("--seconds", type=int, default=10, help="of load without reloads")
    parser.add_argument("--set", action="append", default=[], help="a setting of the server, KEY=VALUE")
    parser.add_argument("--image", help="default: 32x32 pixels of noise")
    return parser.parse_args()


def bitmap(side):
    """A picture of noise."""
    pixels = random.Random(1).randbytes(side * side * 3)
    head = struct.pack("<2sIHHI", b"BM", 54 + len(pixels), 0, 0, 54)
    return head + struct.pack("<IiiHHIIiiII", 40, side, side, 1, 24, 0, len(pixels), 2835, 2835, 0, 0) + pixels


def measured(server):
    """Private memory, threads and open files of a server that has been quiet for a while."""
    time.sleep(SETTLE_SECONDS)
    return {"private_kib": server.private_kib(), "threads": server.threads(), "files": server.files()}


def idle(server):
    """Seconds of CPU of all threads in so many seconds in which nothing is asked."""
    before = server.cpu_seconds_by_thread()
    time.sleep(IDLE_SECONDS)
    return sum(seconds - before.get(name, 0) for name, seconds in server.cpu_seconds_by_thread().items())


def reload(server, count, serve):
    """Reloads so often while it serves; what was served."""
    reloading = threading.Thread(target=load_again, args=(server, count))
    reloading.start()
    served = [serve(LOAD_SECONDS)]
    while reloading.is_alive():
        served.append(serve(LOAD_SECONDS))
    return served


def load_again(server, count):
    for _ in range(count):
        status, text = request(server.address, "POST", "/v2/repository/models/m0/load", timeout=600)
        assert status == 200, text


def measure(server, options, image):
    """The report's members."""
    serve = lambda seconds: load(server.address, image, options.connections, seconds, "/classify?model=m0")
    before = [serve(options.seconds)]
    first = reload(server, 3, serve)
    early, idle_seconds = measured(server), idle(server)
    began = time.monotonic()
    during = reload(server, options.reloads - 3, serve)
    took = time.monotonic() - began
    before.append(serve(options.seconds))
    late = measured(server)
    without, p99 = (statistics.median(one["p99"] for one in loads) for loads in (before, during))
    return {
        "idle_cpu_seconds": round(idle_seconds, 4),
        "reloads": options.reloads,
        "seconds": round(took, 1),
        "requests": sum(one["requests"] for one in during),
        "failed": sum(one["failed"] for one in before + first + during),
        "p99_ms_without": round(without, 2),
        "p99_ms_during": round(p99, 2),
        "p99_ratio": round(p99 / without, 2),
        "rate_ratio": round(statistics.median(one["rate"] for one in during) / statistics.median(one["rate"] for one in before), 2),
        "after_3": early,
        "after_all": late,
        "memory_ratio": round(late["private_kib"] / early["private_kib"], 3),
    }


def main():
    options = arguments()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        models = folder / "models"
        for index in range(options.models):
            shutil.copytree(options.model, models / f"m{index}")
        image = options.image or str(folder / "image.bmp")
        (folder / "image.bmp").write_bytes(bitmap(32))
        server = Server(options.program, ["--models", str(models)], ["models.control=api", *options.set])
        try:
            report = measure(server, options, image)
        finally:
            server.close()
    print(json.dumps(report, indent=2))
    bound = 1.5 if (os.cpu_count() or 1) <= 2 else 1.3
    kept = report["failed"] == 0 and report["p99_ratio"] <= bound and report["memory_ratio"] <= 1.05
    early, late = report["after_3"], report["after_all"]
    kept &= len(late["threads"]) <= len(early["threads"]) and late["files"] <= early["files"]
    kept &= report["idle_cpu_seconds"] < IDLE_SECONDS / 1000
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
