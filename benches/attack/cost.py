"""What each kind of attack costs a server at its limits: memory at its peak, probes meanwhile, and what the attacker sees.

    pip install pillow
    python benches/attack/cost.py [--binary target/release/repserve] [--memory-mb 512] [--only NAME]

Starts the binary once for each attack, in a memory cgroup (version 1 or 2, needs root) where --memory-mb is given, attacks it over loopback
for some seconds, and prints a line of a Markdown table. The figures in docs/security.md are its output.
"""

import argparse
import collections
import contextlib
import io
import multiprocessing
import pathlib
import socket
import struct
import sys
import threading
import time
import zlib

from PIL import Image

sys.path.append(str(pathlib.Path(__file__).parents[1]))

from server import Group, Server, request  # noqa: E402

SECONDS = 6


def crowd(clients, once):
    """So many threads that each do `once(i)` again and again for some seconds; what they saw, counted."""
    seen, end = collections.Counter(), time.monotonic() + SECONDS

    def work(i):
        while time.monotonic() < end:
            seen[once(i)] += 1

    threads = [threading.Thread(target=work, args=(i,)) for i in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seen


def posts(path, body, clients, headers=None):
    def attack(server):
        return crowd(clients, lambda _: request(server.address, "POST", path, body, headers or {"content-type": "application/octet-stream"})[0])

    return attack


def mixed(bodies, clients):
    def attack(server):
        kind = {"content-type": "application/octet-stream"}
        return crowd(clients, lambda i: request(server.address, "POST", "/classify", bodies[i % len(bodies)], kind)[0])

    return attack


def held(count, first=b""):
    """So many connections that send `first` and nothing more."""

    def attack(server):
        sockets = []
        for _ in range(count):
            with contextlib.suppress(OSError):
                connection = socket.create_connection(server.address, timeout=5)
                connection.sendall(first)
                sockets.append(connection)
        time.sleep(SECONDS)
        for connection in sockets:
            connection.close()
        return {"held": len(sockets)}

    return attack


def png16(width, height):
    """A PNG of 16-bit RGBA, all zero."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer, rows = zlib.compressobj(9), bytes(1 + width * 8)
    data = b"".join([packer.compress(rows) for _ in range(height)] + [packer.flush()])
    head = struct.pack(">IIBBBBB", width, height, 16, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def form(part, count):
    one = b'--x\r\ncontent-disposition: form-data; name="f"; filename="f"\r\n\r\n' + part + b"\r\n"
    return one * count + b"--x--\r\n"


def tensors(data):
    return b'{"inputs":[{"name":"images","shape":[1],"datatype":"BYTES","data":' + data + b"}]}"


def attacks():
    flat = Image.new("RGB", (7000, 7000), (200, 40, 90))
    webp = saved(flat, "WEBP", lossless=True)
    noise = Image.effect_noise((4000, 3000), 90).convert("RGB")
    jpeg, progressive = saved(noise, "JPEG", quality=85), saved(noise, "JPEG", quality=80, progressive=True)
    tiff = saved(Image.new("F", (7000, 7000), 0.5), "TIFF")
    many = {"content-type": "multipart/form-data; boundary=x"}
    infer, size = "/v2/models/repvgg-cifar10/infer", 64 << 20
    numbers = tensors(b"[" + b"0," * (size // 2 - 99) + b"0]")
    strings = tensors(b"[" + b'"",' * (size // 3 - 99) + b'""]')
    nested = tensors(b"[" * 118 + b"0," * (size // 2 - 999) + b"0" + b"]" * 118)
    return [
        ("2,000 idle connections", [], held(2000)),
        ("1,000 heads of 31 KiB, unfinished", [], held(1000, b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"a" * (31 << 10))),
        ("40 clients that read nothing, 40 connections at most", ["server.connections_max=40"], held(40, b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n" * 200)),
        ("64 clients, WebP of 49 megapixels", [], posts("/classify", webp, 64)),
        ("4 clients, 64 such WebPs in a form", [], posts("/classify", form(webp, 64), 4, many)),
        ("64 clients, RGBA16 PNG of 50 megapixels", [], posts("/classify", png16(7000, 7142), 64)),
        ("64 clients, mix of PNG, WebP, TIFF, JPEG", [], mixed([png16(7000, 7142), webp, tiff[: 10 << 20], jpeg, progressive], 64)),
        ("24 clients, bodies of 10 MB", [], posts("/classify", bytes(10 << 20), 24)),
        ("4 clients, 64 MiB of numbers", [], posts(infer, numbers, 4, {"content-type": "application/json"})),
        ("4 clients, 64 MiB of empty strings", [], posts(infer, strings, 4, {"content-type": "application/json"})),
        ("4 clients, 64 MiB nested 118 deep", [], posts(infer, nested, 4, {"content-type": "application/json"})),
        ("64 clients, refused as fast as they come", [], posts("/classify", b"no image", 64)),
    ]


def probing(address, stop, times):
    """Probes until `stop`; in a process of its own, which the attack's threads do not hold up."""
    took = []
    while not stop.is_set():
        start = time.monotonic()
        status, _ = request(address, "GET", "/livez", timeout=30)
        took.append((time.monotonic() - start) * 1e3 if status == 200 else float("inf"))
        time.sleep(0.01)
    times.put(took)


def p99(times):
    return sorted(times)[int(len(times) * 0.99)] if times else float("nan")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default="target/release/repserve")
    parser.add_argument("--memory-mb", type=int, default=0)
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    print("| attack | at rest MB | peak MB | `/livez` p99 ms, first and second listener | seen | log bytes |\n|---|---|---|---|---|---|")
    for name, sets, attack in attacks():
        if args.only not in name:
            continue
        group = Group(memory_mb=args.memory_mb) if args.memory_mb else None
        server = Server(args.binary, (), sets, group, ("address", "admin"))
        rest, stop, times = server.status_mb("VmRSS"), multiprocessing.Event(), [multiprocessing.Queue() for _ in range(2)]
        before = pathlib.Path(server.log.name).stat().st_size
        probes = [multiprocessing.Process(target=probing, args=(a, stop, t)) for a, t in zip(server.addresses.values(), times)]
        for probe in probes:
            probe.start()
        seen = attack(server)
        stop.set()
        first, second = (p99(queue.get()) for queue in times)
        for probe in probes:
            probe.join()
        killed = server.process.poll() is not None
        peak = float("nan") if killed else server.status_mb("VmHWM")
        log = pathlib.Path(server.log.name).stat().st_size - before
        text = ", ".join(f"{key}: {count}" for key, count in sorted(seen.items(), key=str))
        print(f"| {name} | {rest:.0f} | {'KILLED' if killed else f'{peak:.0f}'} | {first:.1f}, {second:.1f} | {text} | {log} |", flush=True)
        server.close()
        if group:
            group.close()


if __name__ == "__main__":
    main()
