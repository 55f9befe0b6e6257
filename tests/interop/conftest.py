"""Servers for the tests, and images to send."""

import io
import os
import pathlib
import re
import subprocess
import time

import numpy
import pytest
import requests
from PIL import Image

ROOT = pathlib.Path(__file__).parents[2]
MODEL = "repvgg-cifar10"
DEFAULTS = {"server.drain_delay_ms": 0, "server.grpc_listen": "127.0.0.1:0", "log.format": "json"}


class Server:
    """A server process on free ports, with its log."""

    def __init__(self, folder, **settings):
        self.log = folder / "server.log"
        command = [os.environ.get("REPSERVE", ROOT / "target/debug/repserve"), "serve", "--listen", "127.0.0.1:0"]
        for key, value in {**DEFAULTS, **settings}.items():
            command += ["--set", f"{key}={value}"]
        self.process = subprocess.Popen(command, cwd=ROOT, stderr=open(self.log, "wb"))
        heard = self.wait_for(lambda: re.search(r'"address":"([^"]+)"', self.text()))
        self.address = heard[1]
        admin = re.search(r'"admin":"([^"]+)"', self.text())
        self.admin = admin and admin[1]
        self.grpc = re.search(r'"grpc":"([^"]+)"', self.text())[1]
        self.url = f"http://{self.address}"

    def text(self):
        return self.log.read_text()

    def wait_for(self, what, seconds=60):
        limit = time.monotonic() + seconds
        while not (found := what()):
            assert self.process.poll() is None, f"the server ended:\n{self.text()}"
            assert time.monotonic() < limit, f"waited {seconds} s:\n{self.text()}"
            time.sleep(0.05)
        return found

    def ready(self):
        probe = f"http://{self.admin}/readyz" if self.admin else f"{self.url}/readyz"
        self.wait_for(lambda: requests.get(probe, timeout=5).ok)
        return self

    def stop(self):
        self.process.terminate()
        code = self.process.wait(timeout=60)
        assert code == 0, self.text()


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("server")).ready()
    yield server
    server.stop()


@pytest.fixture
def start(tmp_path):
    """Starts servers with settings of a test's own."""
    servers = []

    def begin(**settings):
        folder = tmp_path / str(len(servers))
        folder.mkdir()
        servers.append(Server(folder, **settings))
        return servers[-1]

    yield begin
    for server in servers:
        if server.process.poll() is None:
            server.stop()


def encoded(seed, kind="PNG", size=(40, 48)):
    """A picture that a formula defines."""
    pixels = numpy.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=numpy.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).resize(size).save(out, kind)
    return out.getvalue()


@pytest.fixture(scope="session")
def pictures():
    return [encoded(seed, kind) for seed, kind in enumerate(["PNG", "JPEG", "BMP", "GIF"])]
