"""The V2 protocol, as KServe's own client uses it."""

import asyncio

import kserve
import numpy
import pytest

from conftest import MODEL


def run(server, talk):
    async def session():
        client = kserve.InferenceRESTClient(kserve.inference_client.RESTConfig(protocol="v2"))
        return await talk(client)

    return asyncio.run(session())


def test_readiness(server):
    assert run(server, lambda c: c.is_server_live(server.url))
    assert run(server, lambda c: c.is_server_ready(server.url))
    assert run(server, lambda c: c.is_model_ready(server.url, MODEL))


@pytest.mark.parametrize("binary", [True, False])
def test_inference(server, binary):
    images = numpy.random.default_rng(3).standard_normal((2, 3, 32, 32), dtype=numpy.float32)
    given = kserve.InferInput("input", list(images.shape), "FP32")
    given.set_data_from_numpy(images, binary_data=binary)
    request = kserve.InferRequest(MODEL, [given], request_id="nine")
    result = run(server, lambda c: c.infer(server.url, request, model_name=MODEL))
    assert result.id == "nine" and result.model_name == MODEL
    logits = result.outputs[0].as_numpy()
    assert logits.shape == (2, 10) and numpy.isfinite(logits).all()
