"""Clients that keep a server busy and remember its responses."""

import http.client
import struct
import threading
import time
import zlib


def until(what, holds, seconds=120):
    limit = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > limit:
            raise AssertionError(f"waited {seconds} s for {what}")
        time.sleep(0.2)


def png(seed):
    """A picture of 32x32 pixels."""
    rows = b"".join(b"\0" + bytes((seed * 31 + y * 7 + x * 3) % 256 for x in range(96)) for y in range(32))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 32, 32, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


class Load:
    """Clients that send one picture after the other and remember every response."""

    def __init__(self, port, clients=8):
        self.port = port
        self.stopped = threading.Event()
        self.statuses, self.errors = [], []
        self.threads = [threading.Thread(target=self.client, args=(i,)) for i in range(clients)]

    def client(self, seed):
        body = png(seed)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        while not self.stopped.is_set():
            try:
                connection.request("POST", "/classify", body, {"content-type": "image/png"})
                response = connection.getresponse()
                text = response.read()
                self.statuses.append(response.status)
                if response.status != 200:
                    self.errors.append(f"{response.status}: {text[:300]!r}")
            except (OSError, http.client.HTTPException) as error:
                self.errors.append(repr(error))
                connection.close()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join()

    def check(self, what, at_least=50):
        assert not self.errors, f"{what}: {len(self.errors)} of {len(self.statuses)} failed: {self.errors[:5]}"
        assert len(self.statuses) >= at_least, f"{what}: only {len(self.statuses)} requests"
        print(f"   {what}: {len(self.statuses)} requests, none failed", flush=True)

    def reach(self, count):
        """Waits until so many more have a response."""
        aim = len(self.statuses) + count
        until(f"{count} more responses", lambda: len(self.statuses) >= aim)
