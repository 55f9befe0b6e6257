"""Spans arrive at an OTLP receiver, under the caller's trace."""

import http.server
import threading

import pytest
import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from conftest import encoded

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"
OCTETS = {"content-type": "application/octet-stream"}


@pytest.fixture
def receiver():
    """Takes spans; `receiver.spans` are those that came."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            assert self.path == "/v1/traces" and self.headers["content-type"] == "application/x-protobuf"
            receiver.resources += ExportTraceServiceRequest.FromString(body).resource_spans
            response = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(response)))
            self.end_headers()
            self.wfile.write(response)

        def log_message(self, *_):
            pass

    receiver = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.resources = []
    thread = threading.Thread(target=receiver.serve_forever)
    thread.start()
    yield receiver
    receiver.shutdown()
    thread.join()


def spans(receiver):
    return [span for resource in receiver.resources for scope in resource.scope_spans for span in scope.spans]


def attributes(span):
    return {a.key: a.value.string_value or a.value.int_value for a in span.attributes}


def test_a_span_a_stage_under_the_callers(start, receiver):
    server = start(**{"trace.otlp_endpoint": f"http://127.0.0.1:{receiver.server_port}"}).ready()
    headers = {**OCTETS, "traceparent": f"00-{TRACE}-{CALLER}-01", "x-request-id": "r-1"}
    reply = requests.post(f"{server.url}/classify", encoded(1), headers=headers)
    assert reply.ok
    version, trace, own, flags = reply.headers["traceparent"].split("-")
    assert (version, trace, flags) == ("00", TRACE, "01") and own != CALLER
    server.stop()

    ours = [span for span in spans(receiver) if span.trace_id.hex() == TRACE]
    (root,) = [span for span in ours if span.name == "POST /classify"]
    assert root.parent_span_id.hex() == CALLER and root.span_id.hex() == own
    assert attributes(root)["http.response.status_code"] == 200
    assert attributes(root)["repserve.request_id"] == "r-1"
    stages = [span for span in ours if span is not root]
    assert [s.name for s in stages] == ["decode", "preprocess", "queue", "inference", "postprocess"]
    for stage in stages:
        assert stage.parent_span_id == root.span_id
        assert root.start_time_unix_nano <= stage.start_time_unix_nano <= stage.end_time_unix_nano
    names = {a.key: a.value.string_value for a in receiver.resources[0].resource.attributes}
    assert names["service.name"] == "repserve"


def test_what_the_caller_sends_along_is_kept(start, receiver):
    """W3C baggage becomes attributes, those of the keys that are set, and tracestate goes on with the span."""
    endpoint = f"http://127.0.0.1:{receiver.server_port}"
    server = start(**{"trace.otlp_endpoint": endpoint, "trace.baggage_keys": '["tenant", "http.route"]'}).ready()
    headers = {
        **OCTETS,
        "traceparent": f"00-{TRACE}-{CALLER}-01",
        "tracestate": "vendor=a:1,other=b",
        "baggage": "tenant=Zo%C3%AB%2C1;ttl=3, secret=x,http.route=spoofed",
    }
    assert requests.post(f"{server.url}/classify", encoded(1), headers=headers).ok
    server.stop()
    (root,) = [span for span in spans(receiver) if span.name == "POST /classify"]
    found = attributes(root)
    assert found["tenant"] == "Zoë,1" and "secret" not in found and found["http.route"] == "/classify"
    assert [a.key for a in root.attributes].count("http.route") == 1
    assert root.trace_state == "vendor=a:1,other=b"


def test_what_the_caller_does_not_sample_is_not_sent(start, receiver):
    server = start(**{"trace.otlp_endpoint": f"http://127.0.0.1:{receiver.server_port}"}).ready()
    reply = requests.post(
        f"{server.url}/classify", encoded(1), headers={**OCTETS, "traceparent": f"00-{TRACE}-{CALLER}-00"}
    )
    assert reply.headers["traceparent"].endswith("-00")
    server.stop()
    assert not [span for span in spans(receiver) if span.trace_id.hex() == TRACE]


def test_a_receiver_that_is_not_there_costs_no_request(start):
    server = start(**{"trace.otlp_endpoint": "http://127.0.0.1:9"}).ready()
    assert requests.post(f"{server.url}/classify", encoded(1), headers=OCTETS).ok
    server.stop()
