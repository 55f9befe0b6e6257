"""Attacks of several kinds at once, and what is left for others: a storm of requests over HTTP/2 (h2load), compressed bodies that unpack to much, and
uploads that are slow. A lone client of another address of loopback asks four times a second meanwhile.

    python benches/attack/combined.py PHOTO.jpg [--binary target/release/repserve] [--model DIR] [--memory-mb 512] [--bombs 20] [--uploads 40]

Prints JSON: what the storm got in time each second, how often bombs were sent, and how long the lone client waited. Needs h2load, and root (cgroups)
where --memory-mb is given. docs/security.md has the figures.
"""

import argparse
import contextlib
import gzip
import http.client
import json
import pathlib
import re
import socket
import subprocess
import sys
import threading
import time

sys.path.append(str(pathlib.Path(__file__).parents[1]))

from server import Group, Server  # noqa: E402

BOMB_BYTES = 300_000_000
UPLOAD_BYTES_PER_SECOND = 7_000
LONE = "127.0.0.2"
LONE_PAUSE_SECONDS = 0.25


def head(path, length, *headers):
    lines = [f"POST {path} HTTP/1.1", "host: x", "content-type: image/jpeg", f"content-length: {length}", *headers, "", ""]
    return "\r\n".join(lines).encode()


def bomb(lies):
    """A request whose body unpacks to far more than an image may have; one that lies has an end that says nothing of that."""
    packer = gzip.compress(bytes(BOMB_BYTES), 9) + (gzip.compress(b"") if lies else b"")
    return head("/classify", len(packer), "content-encoding: gzip", "connection: close") + packer


def send_bombs(address, sent, pause, end, count):
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(address, timeout=30) as connection:
            connection.sendall(sent)
            while connection.recv(65536):
                pass
            count.append(1)
        time.sleep(pause)


def upload_slowly(address, uploads, end):
    """As many uploads as there are to be, a few hundred bytes of each ten times a second."""
    connections, piece = {}, bytes(UPLOAD_BYTES_PER_SECOND // 10)
    while time.monotonic() < end:
        for place in range(uploads):
            try:
                if place not in connections:
                    connections[place] = socket.create_connection(address, timeout=5)
                    connections[place].sendall(head("/classify", 5_000_000))
                connections[place].sendall(piece)
            except OSError:
                if place in connections:
                    connections.pop(place).close()
        time.sleep(0.1)


def ask_alone(address, photo, end, seen):
    begun = time.monotonic()
    while time.monotonic() < end:
        start = time.monotonic()
        connection = http.client.HTTPConnection(*address, timeout=30, source_address=(LONE, 0))
        try:
            connection.connect()
            connected = time.monotonic()
            connection.request("POST", "/classify", photo, {"content-type": "image/jpeg"})
            response = connection.getresponse()
            response.read()
            status, timing = response.status, {name[2:-5]: value for name, value in response.getheaders() if name.endswith("-time")}
        except OSError:
            status, timing, connected = 0, {}, start
        finally:
            connection.close()
        seen.append({"at": round(start - begun, 2), "ms": (time.monotonic() - start) * 1e3, "connect_ms": (connected - start) * 1e3, "status": status, **timing})
        time.sleep(LONE_PAUSE_SECONDS)


def storm(address, photo, seconds):
    """What h2load saw: responses by the first digit of their status."""
    url = "http://{}:{}/classify?timeout_ms=200".format(*address)
    command = ["h2load", "-t1", "-c200", "-m100", f"-D{seconds}", "-d", photo, "-H", "content-type: image/jpeg", url]
    text = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60).stdout
    return {f"{digit}xx": int(count) for count, digit in re.findall(r"(\d+) (\d)xx", text)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo")
    parser.add_argument("--binary", default="target/release/repserve")
    parser.add_argument("--model")
    parser.add_argument("--memory-mb", type=int, default=512)
    parser.add_argument("--seconds", type=int, default=14)
    parser.add_argument("--bombs", type=int, default=20)
    parser.add_argument("--pause", type=float, default=0, help="seconds between two bombs of one client")
    parser.add_argument("--lies", action="store_true", help="the ends of the bombs do not say what they hold")
    parser.add_argument("--uploads", type=int, default=40)
    parser.add_argument("--verbose", action="store_true", help="also print every request of the lone client that took long")
    options = parser.parse_args()
    photo, sent = pathlib.Path(options.photo).read_bytes(), bomb(options.lies) if options.bombs else b""
    group = Group(memory_mb=options.memory_mb) if options.memory_mb else None
    server = Server(options.binary, ["--model", options.model] if options.model else [], group=group)
    try:
        end, bombs, lone = time.monotonic() + options.seconds, [], []
        work = [(ask_alone, (server.address, photo, end, lone)), (upload_slowly, (server.address, options.uploads, end))]
        work += [(send_bombs, (server.address, sent, options.pause, end, bombs))] * options.bombs
        threads = [threading.Thread(target=one, args=arguments) for one, arguments in work]
        for thread in threads:
            thread.start()
        before = server.cpu_seconds()
        got = storm(server.address, options.photo, options.seconds)
        cores = (server.cpu_seconds() - before) / options.seconds
        for thread in threads:
            thread.join()
        took = sorted(one["ms"] for one in lone)
        report = {
            "in_time_per_second": round(got.get("2xx", 0) / options.seconds, 1),
            "refused_per_second": round(got.get("4xx", 0) / options.seconds, 1),
            "bombs_per_second": round(len(bombs) / options.seconds, 1),
            "lone_asked": len(lone),
            "lone_served": sum(one["status"] == 200 for one in lone),
            "lone_ms": {"p50": round(took[len(took) // 2], 1), "p90": round(took[len(took) * 9 // 10], 1), "most": round(took[-1], 1)},
            "server_cores": round(cores, 2),
            "peak_mb": round(server.status_mb("VmHWM")),
        }
        print(json.dumps(report, indent=2))
        if options.verbose:
            for one in sorted(lone, key=lambda one: -one["ms"])[:5]:
                print(json.dumps(one))
    finally:
        alive = server.close()
        if group:
            group.close()
    return 0 if alive else 1


if __name__ == "__main__":
    sys.exit(main())
