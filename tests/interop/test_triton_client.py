"""The V2 protocol, as Triton's own client uses it, unmodified."""

import numpy
import onnxruntime
import pytest
import requests
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from conftest import MODEL, ROOT

SHAPE = (3, 32, 32)


@pytest.fixture(scope="module")
def client(server):
    with triton.InferenceServerClient(server.address) as client:
        yield client


def tensors(count, seed=7):
    return numpy.random.default_rng(seed).standard_normal((count, *SHAPE), dtype=numpy.float32)


def fp32(images, binary=True):
    given = triton.InferInput("input", images.shape, "FP32")
    given.set_data_from_numpy(images, binary_data=binary)
    return given


def encoded(images):
    given = triton.InferInput("images", [len(images)], "BYTES")
    given.set_data_from_numpy(numpy.array(images, dtype=numpy.object_))
    return given


def test_health_and_metadata(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(MODEL)
    assert client.is_model_ready(MODEL, "1")
    assert not client.is_model_ready("none")
    assert not client.is_model_ready(MODEL, "9")
    server = client.get_server_metadata()
    assert server["name"] == "repserve"
    assert "binary_tensor_data" in server["extensions"]
    model = client.get_model_metadata(MODEL)
    assert model["name"] == MODEL
    assert model["versions"] == ["1"]
    assert model["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [-1, *SHAPE]}]
    assert model["outputs"] == [{"name": "logits", "datatype": "FP32", "shape": [-1, 10]}]
    assert model["parameters"]["blocks_fused"] > 0
    assert client.get_model_repository_index() == [{"name": MODEL, "version": "1", "state": "READY"}]


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_tensors_in_every_encoding(client, binary_in, binary_out):
    images = tensors(3)
    wanted = [triton.InferRequestedOutput("logits", binary_data=binary_out)]
    result = client.infer(MODEL, [fp32(images, binary_in)], outputs=wanted, request_id="seven")
    logits = result.as_numpy("logits")
    assert logits.shape == (3, 10) and logits.dtype == numpy.float32
    assert result.get_response()["id"] == "seven"
    single = [client.infer(MODEL, [fp32(images[i : i + 1])]).as_numpy("logits") for i in range(3)]
    numpy.testing.assert_allclose(logits, numpy.concatenate(single), atol=1e-5)


def test_the_train_time_graph_agrees(client):
    session = onnxruntime.InferenceSession(ROOT / "models" / MODEL / "model.onnx", providers=["CPUExecutionProvider"])
    images = tensors(2, seed=1)
    (expected,) = session.run(None, {session.get_inputs()[0].name: images})
    got = client.infer(MODEL, [fp32(images)]).as_numpy("logits")
    numpy.testing.assert_allclose(got, expected, atol=1e-4 * numpy.abs(expected).max())


def test_encoded_images_are_what_classify_sees(client, server, pictures):
    result = client.infer(MODEL, [encoded(pictures)])
    logits = result.as_numpy("logits")
    assert logits.shape == (len(pictures), 10)
    for picture, row in zip(pictures, logits):
        reply = requests.post(
            f"{server.url}/classify?top_k=10", picture, headers={"content-type": "application/octet-stream"}
        )
        classes = reply.json()["predictions"][0]["classes"]
        odds = numpy.exp(row - row.max()) / numpy.exp(row - row.max()).sum()
        for one in classes:
            assert one["probability"] == pytest.approx(odds[one["index"]], abs=1e-5)


@pytest.mark.parametrize("binary_out", [True, False])
def test_classification(client, pictures, binary_out):
    wanted = [triton.InferRequestedOutput("logits", binary_data=binary_out, class_count=3)]
    result = client.infer(MODEL, [encoded(pictures)], outputs=wanted).as_numpy("logits")
    plain = client.infer(MODEL, [encoded(pictures)]).as_numpy("logits")
    assert result.shape == (len(pictures), 3)
    for row, values in zip(result, plain):
        for text, index in zip(row, numpy.argsort(-values)):
            text = text.decode() if isinstance(text, bytes) else text
            value, at, label = text.split(":", 2)
            assert int(at) == index and label
            assert float(value) == pytest.approx(values[index], abs=1e-4)


def test_many_at_once(server):
    images = tensors(8)
    with triton.InferenceServerClient(server.address, concurrency=4) as client:
        pending = [client.async_infer(MODEL, [fp32(images[i : i + 1])]) for i in range(8)]
        rows = [one.get_result().as_numpy("logits") for one in pending]
        together = client.infer(MODEL, [fp32(images)]).as_numpy("logits")
    numpy.testing.assert_allclose(numpy.concatenate(rows), together, atol=1e-5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda: [fp32(tensors(1)[:, :, :16])], "the model takes"),
        (lambda: [fp32(numpy.full((1, *SHAPE), numpy.nan, numpy.float32))], "NaN or infinity"),
        (lambda: [fp32(tensors(1)), fp32(tensors(1))], "the model has one input, the request 2"),
        (lambda: [encoded([b"no image"])], "image"),
    ],
)
def test_errors_reach_the_client(client, given, message):
    with pytest.raises(InferenceServerException, match=message):
        client.infer(MODEL, given())


def test_what_is_not_there(client):
    with pytest.raises(InferenceServerException, match='no model is called "none"'):
        client.infer("none", [fp32(tensors(1))])
    with pytest.raises(InferenceServerException, match="is served in version"):
        client.infer(MODEL, [fp32(tensors(1))], model_version="9")
    with pytest.raises(InferenceServerException, match='there is no output "odds"'):
        client.infer(MODEL, [fp32(tensors(1))], outputs=[triton.InferRequestedOutput("odds")])


def test_a_deadline_of_its_own(client):
    with pytest.raises(InferenceServerException, match="deadline"):
        client.infer(MODEL, [fp32(tensors(1))], timeout=1)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False])
def test_compressed_requests_and_responses(client, algorithm, binary):
    images = tensors(40)
    wanted = [triton.InferRequestedOutput("logits", binary_data=binary)]
    compressed = {"request_compression_algorithm": algorithm, "response_compression_algorithm": algorithm}
    result = client.infer(MODEL, [fp32(images, binary)], outputs=wanted, **compressed)
    plain = client.infer(MODEL, [fp32(images, binary)], outputs=wanted)
    numpy.testing.assert_allclose(result.as_numpy("logits"), plain.as_numpy("logits"), atol=1e-5)


def test_responses_are_compressed_as_asked(server):
    body = {"inputs": [{"name": "input", "shape": [40, *SHAPE], "datatype": "FP32", "data": tensors(40).flatten().tolist()}]}
    for coding in ["gzip", "deflate"]:
        reply = requests.post(f"{server.url}/v2/models/{MODEL}/infer", json=body, headers={"accept-encoding": coding})
        assert reply.headers["content-encoding"] == coding and "accept-encoding" in reply.headers["vary"]
        assert len(reply.json()["outputs"][0]["data"]) == 400


def test_statistics_and_configuration(client):
    (before,) = client.get_inference_statistics(MODEL)["model_stats"]
    client.infer(MODEL, [fp32(tensors(3))])
    (after,) = client.get_inference_statistics(MODEL, "1")["model_stats"]
    assert (after["name"], after["version"]) == (MODEL, "1")
    assert after["inference_count"] == before["inference_count"] + 3
    assert after["inference_stats"]["success"]["count"] == before["inference_stats"]["success"]["count"] + 1
    assert sum(batch["compute_infer"]["count"] for batch in after["batch_stats"]) == after["execution_count"]
    assert [model["name"] for model in client.get_inference_statistics()["model_stats"]] == [MODEL]
    config = client.get_model_config(MODEL)
    assert (config["name"], config["backend"]) == (MODEL, "onnxruntime")
    assert config["input"] == [{"name": "input", "data_type": "TYPE_FP32", "dims": list(SHAPE)}]
