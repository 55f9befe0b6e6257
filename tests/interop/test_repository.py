"""Loading, exchanging and unloading models, as Triton's own client does it, unmodified, while requests run."""

import concurrent.futures
import io
import shutil
import threading

import numpy
import pytest
import requests
import tritonclient.http as triton
from PIL import Image
from tritonclient.utils import InferenceServerException

from conftest import MODEL, ROOT, Server

FILES = ("model.toml", "labels.txt", "model.onnx")


def add(root, name, version):
    """A version of a copy of the default model, there at once."""
    made = root / ".made"
    made.mkdir()
    for file in FILES:
        shutil.copy(ROOT / "models" / MODEL / file, made / file)
    (root / name).mkdir(exist_ok=True)
    made.rename(root / name / str(version))


@pytest.fixture
def repository(tmp_path):
    root = tmp_path / "models"
    root.mkdir()
    add(root, "a", 1)
    add(root, "b", 1)
    yield root


@pytest.fixture
def server(repository, tmp_path):
    server = Server(tmp_path, **{"models.path": repository, "models.control": "api"}).ready()
    yield server
    server.stop()


def picture():
    out = io.BytesIO()
    pixels = numpy.random.default_rng(1).integers(0, 256, (32, 32, 3), dtype=numpy.uint8)
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def states(client):
    return {(entry["name"], entry["version"]): entry["state"] for entry in client.get_model_repository_index()}


def test_models_are_loaded_and_unloaded(server, repository):
    with triton.InferenceServerClient(server.address, network_timeout=300) as client:
        assert states(client) == {("a", "1"): "READY", ("b", "1"): "READY"}
        client.unload_model("b")
        assert client.is_model_ready("a") and not client.is_model_ready("b")
        assert states(client)[("b", "1")] == "UNAVAILABLE"
        client.load_model("b")
        assert client.is_model_ready("b")
        add(repository, "c", 7)
        client.load_model("c")
        assert client.is_model_ready("c", "7")
        with pytest.raises(InferenceServerException, match="there is nothing at"):
            client.load_model("../a")
        with pytest.raises(InferenceServerException, match="as it lies in the server.s folder"):
            client.load_model("a", config="{}", files={"file:1/model.onnx": b"x"})


def test_no_request_is_lost_while_versions_are_exchanged(server, repository):
    image, stop = picture(), threading.Event()

    def ask():
        versions, failed = set(), 0
        with requests.Session() as session:
            while not stop.is_set():
                response = session.post(f"{server.url}/classify?model=a", data=image)
                if response.ok:
                    versions.add(response.json()["version"])
                else:
                    failed += 1
        return versions, failed

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        try:
            with triton.InferenceServerClient(server.address, network_timeout=300) as client:
                for version in (2, 3):
                    add(repository, "a", version)
                    client.load_model("a")
                (repository / "a" / "4").mkdir()
                with pytest.raises(InferenceServerException):
                    client.load_model("a")
                found = states(client)
                assert found[("a", "3")] == "READY"
        finally:
            stop.set()
        seen = [one.result() for one in asking]
    assert sum(failed for _, failed in seen) == 0
    assert set.union(*(versions for versions, _ in seen)) <= {"1", "2", "3"}
