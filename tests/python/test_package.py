"""The package as it was installed: its binary, and the module around it."""

import hashlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import repserve

from pictures import png

ROOT = pathlib.Path(__file__).parents[2]
MODEL = ROOT / "models/repvgg-cifar10"


@pytest.fixture(scope="session")
def server() -> Iterator[repserve.Server]:
    with repserve.Server(settings={"server.top_k": 3, "server.grpc_listen": "127.0.0.1:0"}) as server:
        yield server


@pytest.fixture
def client(server: repserve.Server) -> repserve.Client:
    return server.client()


def test_this_is_the_package_that_was_installed() -> None:
    assert ROOT / "python" not in pathlib.Path(repserve.__file__).parents
    assert pathlib.Path(repserve.binary()).parent == pathlib.Path(sys.executable).parent


def test_the_library_is_that_of_the_package_onnxruntime(server: repserve.Server) -> None:
    mapped = pathlib.Path(f"/proc/{server.pid}/maps").read_text()
    (library,) = {line.split()[-1] for line in mapped.splitlines() if "libonnxruntime.so" in line}
    assert pathlib.Path(sys.prefix).resolve() in pathlib.Path(library).resolve().parents


def test_jpeg_is_decoded_with_simd(server: repserve.Server) -> None:
    (loaded,) = [line for line in map(json.loads, server.log) if line["message"] == "loaded"]
    assert "with SIMD" in loaded["decoder"]
    assert not [line for line in server.log if "without SIMD" in line]


def test_the_module_takes_the_binarys_arguments_and_exit_code() -> None:
    command = [sys.executable, "-m", "repserve"]
    done = subprocess.run([*command, "convert", "--no-such-flag"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("repserve: unexpected argument '--no-such-flag'")
    assert subprocess.run([*command, "--version"], capture_output=True, text=True, check=True).stdout.startswith("repserve ")


def test_convert_writes_the_deploy_graph_and_says_how_they_compare(tmp_path: pathlib.Path) -> None:
    out = tmp_path / "deploy.onnx"
    report = repserve.convert(MODEL, out)
    assert hashlib.sha256(out.read_bytes()).hexdigest() == report.deploy.sha256
    assert report.source.operators["Conv"] == 18 and report.deploy.operators["Conv"] == len(report.blocks) == 9
    assert {block.kind for block in report.blocks} == {"parallel"}
    assert report.equivalence is not None and report.equivalence.top1_agreement == 1.0
    assert 0 < report.equivalence.relative_error < 1e-4
    assert report.not_verified is None and not report.refusals

    again = repserve.inspect(out)
    assert again.already_fused and again.report.equivalence is None
    with pytest.raises(repserve.RepserveError, match="deploy.onnx.*exists"):
        repserve.convert(MODEL, out)
    assert repserve.convert(MODEL, out, force=True) == report


def test_inspect_says_what_a_file_is() -> None:
    found = repserve.inspect(str(MODEL / "model.onnx"))
    assert found.inputs == ["input: f32[batch,3,32,32]"] and found.outputs == ["logits: f32[batch,10]"]
    assert not found.already_fused and len(found.report.blocks) == 9


def test_an_error_has_the_binarys_message(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "-model.onnx"
    path.write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(repserve.RepserveError) as raised:
        repserve.inspect(path)
    message = str(raised.value)
    assert message.startswith(str(path)) and "Git LFS" in message and "\n" not in message


def test_a_binary_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setenv("REPSERVE", str(tmp_path / "none"))
    with pytest.raises(repserve.RepserveError, match="none cannot be run: No such file"):
        repserve.inspect(MODEL)
    with pytest.raises(repserve.RepserveError, match="none cannot be run: No such file"):
        repserve.Server().start()


def test_an_image_is_bytes_a_path_or_a_picture(client: repserve.Client, tmp_path: pathlib.Path) -> None:
    class Picture:
        def save(self, fp: Any, format: str | None = None) -> None:
            assert format == "PNG"
            fp.write(png(7))

    path = tmp_path / "a \"picture\".png"
    path.write_bytes(png(7))
    of_bytes = client.classify(png(7))
    assert len(of_bytes.classes) == 3 and of_bytes.name is None and of_bytes.error is None
    assert of_bytes.best == of_bytes.classes[0] and 0 < of_bytes.best.probability <= 1
    assert client.classify(Picture()) == client.classify(memoryview(png(7))) == of_bytes
    assert client.classify(path).classes == client.classify(str(path)).classes == of_bytes.classes
    assert client.classify(path).name == path.name
    assert len(client.classify(png(7), top_k=10, model="repvgg-cifar10", version="1").classes) == 10

    several = client.classify_many([png(1), path, Picture()])
    assert [one.name for one in several] == [None, path.name, None]
    assert several[1].classes == several[2].classes == of_bytes.classes and several[0] != several[1]
    assert client.classify_many([]) == []


def test_a_broken_image_is_an_error_or_has_its_own(client: repserve.Client) -> None:
    with pytest.raises(repserve.ResponseError) as raised:
        client.classify(b"no picture")
    assert (raised.value.status, raised.value.code) == (415, "unsupported_type")
    with pytest.raises(repserve.ResponseError):
        client.classify_many([png(1), b"no picture"])
    good, bad = client.classify_many([png(1), b"no picture"], partial=True)
    assert good.error is None and good.classes == client.classify(png(1)).classes
    assert bad.error is not None and bad.error.code == raised.value.code and not bad.classes
    with pytest.raises(repserve.ResponseError):
        _ = bad.best


def test_what_a_server_says_of_itself(server: repserve.Server, client: repserve.Client) -> None:
    assert client.ready()
    client.wait_until_ready()
    assert client.metadata("repvgg-cifar10")["inputs"]
    assert "repserve_images_total" in client.metrics()
    with pytest.raises(repserve.ResponseError) as raised:
        client.metadata("no/such?model")
    assert raised.value.status == 404
    host, _, port = server.grpc_address.rpartition(":")
    socket.create_connection((host, int(port))).close()
    with pytest.raises(repserve.RepserveError, match="admin"):
        _ = server.admin_address


def test_threads_share_a_client(client: repserve.Client) -> None:
    expected = client.classify(png(3))
    found: list[repserve.Prediction] = []
    threads = [threading.Thread(target=lambda: found.append(client.classify(png(3)))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 8


def test_a_connection_that_the_server_has_closed_is_opened_again() -> None:
    with repserve.Server() as server:
        port = int(server.address.rpartition(":")[2])
        client = server.client()
        expected = client.classify(png(3))
        server.stop()
        assert not client.ready()
        with pytest.raises(repserve.RepserveError, match="no response from"):
            client.classify(png(3))
    with repserve.Server(listen=f"127.0.0.1:{port}") as server:
        assert client.classify(png(3)) == expected
        server.stop()
        server.start()
        assert client.classify(png(3)) == expected


def test_a_server_ends_with_its_block_and_frees_its_port() -> None:
    with repserve.Server(MODEL) as server:
        pid = server.pid
        assert server.client().classify(png(2)).best.label
        with pytest.raises(repserve.RepserveError, match="started already"):
            server.start()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(repserve.RepserveError, match="does not run"):
        _ = server.url
    server.stop()


def test_a_server_that_cannot_start_says_why(tmp_path: pathlib.Path) -> None:
    with pytest.raises(repserve.RepserveError, match="nowhere does not exist; give a model's folder"):
        repserve.Server(tmp_path / "nowhere").start()
    with pytest.raises(repserve.RepserveError, match="server.topk.*did you mean `server.top_k`"):
        repserve.Server(settings={"server.topk": 3}).start()
    with pytest.raises(repserve.RepserveError, match="there is no model in"):
        repserve.Server(models=tmp_path).start()
    with pytest.raises(ValueError, match=r"log\.level is set by this class"):
        repserve.Server(settings={"log.level": "debug"})
    with pytest.raises(ValueError, match="not both"):
        repserve.Server("a", models="b")


def test_a_server_that_is_killed_while_it_starts_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    script = tmp_path / "repserve"
    script.write_text("#!/bin/sh\nkill -KILL $$\n")
    script.chmod(0o755)
    monkeypatch.setenv("REPSERVE", str(script))
    with pytest.raises(repserve.RepserveError, match="the binary was ended by signal 9"):
        repserve.Server().start()


def test_a_url_that_is_none_is_refused() -> None:
    for url in ["127.0.0.1:8080", "ftp://a", "http://"]:
        with pytest.raises(ValueError, match="is no URL of a server"):
            repserve.Client(url)
