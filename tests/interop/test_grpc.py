"""The Open Inference Protocol over gRPC, as Triton's own client uses it, unmodified; health and reflection, as gRPC's own clients do."""

import queue
import subprocess

import grpc
import numpy
import pytest
import requests
import tritonclient.grpc as triton
import tritonclient.http
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from conftest import MODEL

SHAPE = (3, 32, 32)
KEY = "a-key-of-this-test"


@pytest.fixture(scope="module")
def client(server):
    with triton.InferenceServerClient(server.grpc) as client:
        yield client


@pytest.fixture(scope="module")
def over_http(server):
    with tritonclient.http.InferenceServerClient(server.address) as client:
        yield client


def tensors(count, seed=7):
    return numpy.random.default_rng(seed).standard_normal((count, *SHAPE), dtype=numpy.float32)


def fp32(images, module=triton):
    given = module.InferInput("input", images.shape, "FP32")
    given.set_data_from_numpy(images)
    return given


def encoded(images, module=triton):
    given = module.InferInput("images", [len(images)], "BYTES")
    given.set_data_from_numpy(numpy.array(images, dtype=numpy.object_))
    return given


def refused(client, given, **options):
    with pytest.raises(InferenceServerException) as caught:
        client.infer(options.pop("model", MODEL), given, **options)
    return caught.value.status(), caught.value.message()


def test_health_and_metadata(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(MODEL)
    assert client.is_model_ready(MODEL, "1")
    assert not client.is_model_ready("none")
    assert not client.is_model_ready(MODEL, "9")
    server = client.get_server_metadata()
    assert server.name == "repserve"
    assert "classification" in server.extensions
    model = client.get_model_metadata(MODEL, as_json=True)
    assert model["name"] == MODEL
    assert model["versions"] == ["1"]
    assert model["inputs"] == [{"name": "input", "datatype": "FP32", "shape": ["-1", "3", "32", "32"]}]
    assert model["outputs"] == [{"name": "logits", "datatype": "FP32", "shape": ["-1", "10"]}]
    index = client.get_model_repository_index(as_json=True)
    assert index == {"models": [{"name": MODEL, "version": "1", "state": "READY"}]}


def test_tensors_are_what_http_computes(client, over_http):
    images = tensors(3)
    result = client.infer(MODEL, [fp32(images)], request_id="seven")
    logits = result.as_numpy("logits")
    assert logits.shape == (3, 10) and logits.dtype == numpy.float32
    assert result.get_response().id == "seven"
    assert result.get_response().raw_output_contents
    numpy.testing.assert_allclose(logits, over_http.infer(MODEL, [fp32(images, tritonclient.http)]).as_numpy("logits"), atol=1e-5)
    single = [client.infer(MODEL, [fp32(images[i : i + 1])]).as_numpy("logits") for i in range(3)]
    numpy.testing.assert_allclose(logits, numpy.concatenate(single), atol=1e-5)


def test_typed_contents(server, client, pictures):
    stub = service_pb2_grpc.GRPCInferenceServiceStub(grpc.insecure_channel(server.grpc))
    images = tensors(2)
    request = service_pb2.ModelInferRequest(model_name=MODEL)
    given = request.inputs.add(name="input", datatype="FP32", shape=images.shape)
    given.contents.fp32_contents.extend(images.flatten())
    response = stub.ModelInfer(request)
    assert not response.raw_output_contents
    logits = numpy.reshape(response.outputs[0].contents.fp32_contents, response.outputs[0].shape)
    numpy.testing.assert_allclose(logits, client.infer(MODEL, [fp32(images)]).as_numpy("logits"), atol=1e-5)

    request = service_pb2.ModelInferRequest(model_name=MODEL)
    given = request.inputs.add(name="images", datatype="BYTES", shape=[len(pictures)])
    given.contents.bytes_contents.extend(pictures)
    request.outputs.add(name="logits").parameters["classification"].int64_param = 2
    response = stub.ModelInfer(request)
    assert list(response.outputs[0].shape) == [len(pictures), 2]
    raw = client.infer(MODEL, [encoded(pictures)], outputs=[triton.InferRequestedOutput("logits", class_count=2)])
    assert list(response.outputs[0].contents.bytes_contents) == list(raw.as_numpy("logits").flatten())


def test_encoded_images_are_what_http_sees(client, over_http, pictures):
    logits = client.infer(MODEL, [encoded(pictures)]).as_numpy("logits")
    expected = over_http.infer(MODEL, [encoded(pictures, tritonclient.http)]).as_numpy("logits")
    numpy.testing.assert_allclose(logits, expected, atol=1e-5)


def test_classification(client, pictures):
    wanted = [triton.InferRequestedOutput("logits", class_count=3)]
    result = client.infer(MODEL, [encoded(pictures)], outputs=wanted).as_numpy("logits")
    plain = client.infer(MODEL, [encoded(pictures)]).as_numpy("logits")
    assert result.shape == (len(pictures), 3)
    for row, values in zip(result, plain):
        for text, index in zip(row, numpy.argsort(-values)):
            value, at, label = text.decode().split(":", 2)
            assert int(at) == index and label
            assert float(value) == pytest.approx(values[index], abs=1e-4)


def test_a_stream(server, client, pictures):
    images = tensors(24)
    answers = queue.Queue()
    with triton.InferenceServerClient(server.grpc) as streaming:
        streaming.start_stream(lambda result, error: answers.put((result, error)))
        for i in range(24):
            given = fp32(images[i : i + 1]) if i != 5 else fp32(images[5:6, :, :16])
            streaming.async_stream_infer(MODEL, [given], request_id=str(i))
        found = [answers.get(timeout=60) for _ in range(24)]
        streaming.async_stream_infer(MODEL, [encoded(pictures)], outputs=[triton.InferRequestedOutput("logits", class_count=2)])
        classes, error = answers.get(timeout=60)
        assert error is None and classes.as_numpy("logits").shape == (len(pictures), 2)
        streaming.stop_stream()
    expected = client.infer(MODEL, [fp32(images)]).as_numpy("logits")
    for i, (result, error) in enumerate(found):
        if i == 5:
            assert result is None and "shape" in error.message()
            continue
        assert error is None and result.get_response().id == str(i)
        numpy.testing.assert_allclose(result.as_numpy("logits")[0], expected[i], atol=1e-5)


def test_a_stream_whose_deadline_passes_tells_it(server):
    answers = queue.Queue()
    with triton.InferenceServerClient(server.grpc) as streaming:
        streaming.start_stream(lambda result, error: answers.put((result, error)), stream_timeout=0.2)
        result, error = answers.get(timeout=60)
        assert result is None and "DEADLINE_EXCEEDED" in error.status()


def test_many_at_once(client):
    images = tensors(32)
    pending = []
    for i in range(32):
        done = []
        client.async_infer(MODEL, [fp32(images[i : i + 1])], lambda result, error, done=done: done.append((result, error)))
        pending.append(done)
    together = client.infer(MODEL, [fp32(images)]).as_numpy("logits")
    while not all(pending):
        pass
    assert not any(error for [(_, error)] in pending)
    rows = [result.as_numpy("logits") for [(result, _)] in pending]
    numpy.testing.assert_allclose(numpy.concatenate(rows), together, atol=1e-5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda: [fp32(tensors(1)[:, :, :16])], "the model takes"),
        (lambda: [fp32(numpy.full((1, *SHAPE), numpy.nan, numpy.float32))], "NaN or infinity"),
        (lambda: [fp32(tensors(1)), fp32(tensors(1))], "several inputs; the model has one"),
        (lambda: [encoded([b"no image"])], "image"),
    ],
)
def test_errors_reach_the_client(client, given, message):
    status, text = refused(client, given())
    assert status == "StatusCode.INVALID_ARGUMENT" and message in text


def test_what_is_not_there(client):
    status, text = refused(client, [fp32(tensors(1))], model="none")
    assert status == "StatusCode.NOT_FOUND" and 'no model is called "none"' in text
    status, text = refused(client, [fp32(tensors(1))], model_version="9")
    assert status == "StatusCode.NOT_FOUND" and "is served in version" in text
    status, text = refused(client, [fp32(tensors(1))], outputs=[triton.InferRequestedOutput("odds")])
    assert status == "StatusCode.INVALID_ARGUMENT" and 'there is no output "odds"' in text
    with pytest.raises(InferenceServerException, match="UNIMPLEMENTED"):
        client.get_trace_settings()


def test_a_deadline_that_has_passed(client):
    status, _ = refused(client, [fp32(tensors(1))], timeout=1)
    assert status == "StatusCode.DEADLINE_EXCEEDED"


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compressed_requests(client, algorithm):
    images = tensors(2)
    logits = client.infer(MODEL, [fp32(images)], compression_algorithm=algorithm).as_numpy("logits")
    numpy.testing.assert_allclose(logits, client.infer(MODEL, [fp32(images)]).as_numpy("logits"), atol=1e-5)


def test_statistics_and_configuration(client):
    before = client.get_inference_statistics(MODEL).model_stats[0]
    client.infer(MODEL, [fp32(tensors(3))])
    after = client.get_inference_statistics(MODEL).model_stats[0]
    assert (after.name, after.version) == (MODEL, "1")
    assert after.inference_count == before.inference_count + 3
    assert after.execution_count > before.execution_count
    assert after.inference_stats.success.count == before.inference_stats.success.count + 1
    assert after.inference_stats.compute_infer.ns > before.inference_stats.compute_infer.ns
    assert sum(batch.compute_infer.count for batch in after.batch_stats) == after.execution_count
    assert after.last_inference >= before.last_inference
    config = client.get_model_config(MODEL).config
    assert (config.name, config.backend) == (MODEL, "onnxruntime")
    assert config.max_batch_size > 0 and list(config.input[0].dims) == list(SHAPE)


def test_models_are_not_loaded_or_unloaded_while_serving(client):
    with pytest.raises(InferenceServerException, match="PERMISSION_DENIED.*models.control"):
        client.load_model(MODEL)
    with pytest.raises(InferenceServerException, match="PERMISSION_DENIED.*models.control"):
        client.unload_model(MODEL)


def test_a_message_may_be_no_larger_than_a_request(start):
    server = start(**{"limits.request_bytes_max": 100_000, "limits.image_bytes_max": 50_000}).ready()
    with triton.InferenceServerClient(server.grpc) as client:
        client.infer(MODEL, [fp32(tensors(8))])
        for options in [{}, {"compression_algorithm": "gzip"}]:
            status, text = refused(client, [fp32(numpy.zeros((9, *SHAPE), numpy.float32))], **options)
            assert status == "StatusCode.RESOURCE_EXHAUSTED" and "bytes" in text


def test_keys(start, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text(KEY)
    server = start(**{"security.api_keys_file": keys, "server.admin_listen": "127.0.0.1:0"}).ready()
    with triton.InferenceServerClient(server.grpc) as client:
        assert client.is_server_ready()
        status, text = refused(client, [fp32(tensors(1))])
        assert status == "StatusCode.UNAUTHENTICATED" and "API key" in text
        client.infer(MODEL, [fp32(tensors(1))], headers={"authorization": f"Bearer {KEY}"})
        client.infer(MODEL, [fp32(tensors(1))], headers={"x-api-key": KEY})


def test_tls(start, tmp_path):
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    files = {"security.tls_certificate_file": certificate, "security.tls_key_file": key}
    server = start(**files, **{"server.admin_listen": "127.0.0.1:0"}).ready()
    with triton.InferenceServerClient(server.grpc, ssl=True, root_certificates=str(certificate)) as client:
        assert client.infer(MODEL, [fp32(tensors(2))]).as_numpy("logits").shape == (2, 10)


def test_health_service(server):
    stub = health_pb2_grpc.HealthStub(grpc.insecure_channel(server.grpc))
    for service in ["", "inference.GRPCInferenceService", MODEL]:
        response = stub.Check(health_pb2.HealthCheckRequest(service=service))
        assert response.status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as caught:
        stub.Check(health_pb2.HealthCheckRequest(service="none"))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_who_watches_hears_that_the_server_goes_down(start):
    server = start(**{"server.drain_delay_ms": 500}).ready()
    watch = health_pb2_grpc.HealthStub(grpc.insecure_channel(server.grpc)).Watch(health_pb2.HealthCheckRequest())
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    server.process.terminate()
    assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert list(watch) == []
    assert server.process.wait(timeout=20) == 0


def test_reflection_describes_what_is_served(server):
    database = ProtoReflectionDescriptorDatabase(grpc.insecure_channel(server.grpc))
    assert {"inference.GRPCInferenceService", "grpc.health.v1.Health"} <= set(database.get_services())
    pool = DescriptorPool(database)
    service = pool.FindServiceByName("inference.GRPCInferenceService")
    known = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    for method in service.methods:
        there = known.methods_by_name[method.name]
        for ours, theirs in [(method.input_type, there.input_type), (method.output_type, there.output_type)]:
            same_fields(ours, theirs, set())


def same_fields(ours, theirs, seen):
    """Every field of ours has the name, the number and the type of Triton's."""
    if ours.full_name in seen:
        return
    seen.add(ours.full_name)
    assert ours.full_name == theirs.full_name
    for field in ours.fields:
        there = theirs.fields_by_name[field.name]
        assert (field.number, field.type) == (there.number, there.type), field.full_name
        if field.message_type:
            same_fields(field.message_type, there.message_type, seen)
        if field.enum_type:
            numbers = lambda enum: {value.name: value.number for value in enum.values}
            assert numbers(field.enum_type) == numbers(there.enum_type)


def test_http_is_told_where_it_is(server):
    reply = requests.get(f"http://{server.grpc}/v2")
    assert reply.status_code == 415 and "server.listen" in reply.json()["detail"]
