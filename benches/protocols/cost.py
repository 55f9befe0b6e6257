"""What a request costs the server in CPU time, over each form of the Open Inference Protocol.

    pip install numpy pillow 'tritonclient[grpc,http]'
    python benches/protocols/cost.py [--binary target/release/repserve] [--model FOLDER] [--rounds 5] [--requests 100] [--only '1 tensor']

Starts the binary, sends the same requests over JSON, over JSON with raw bytes behind it, over gRPC with typed contents and over gRPC with raw contents, one
after the other and in turns, and reads the CPU time of its threads before and after each turn. Prints a Markdown table of medians and quartiles.
The figures in docs/grpc.md are its output.
"""

import argparse
import base64
import io
import pathlib
import statistics
import sys

import grpc
import numpy
import tritonclient.http
from PIL import Image
from tritonclient.grpc import service_pb2, service_pb2_grpc

sys.path.append(str(pathlib.Path(__file__).parents[1]))

from server import Server  # noqa: E402



def text(server, listener):
    return "{}:{}".format(*server.addresses[listener])


def picture(seed):
    pixels = numpy.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=numpy.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).resize((64, 64)).save(out, "JPEG")
    return out.getvalue()


class Load:
    """One request in each form."""

    def __init__(self, server, metadata, name, datatype, value):
        self.model, self.output = metadata["name"], metadata["outputs"][0]["name"]
        self.name, self.datatype, self.value = name, datatype, value
        self.http = tritonclient.http.InferenceServerClient(text(server, "address"))
        self.stub = service_pb2_grpc.GRPCInferenceServiceStub(grpc.insecure_channel(text(server, "grpc")))
        self.forms = {
            "JSON over HTTP": self.over_http(False),
            "binary over HTTP": self.over_http(True),
            "gRPC, typed": self.over_grpc(False),
            "gRPC, raw": self.over_grpc(True),
        }

    def over_http(self, binary):
        given = tritonclient.http.InferInput(self.name, list(self.value.shape), self.datatype)
        value = self.value
        if not binary and self.datatype == "BYTES":
            value = numpy.array([base64.b64encode(one).decode() for one in value], dtype=object)
        given.set_data_from_numpy(value, binary_data=binary)
        wanted = [tritonclient.http.InferRequestedOutput(self.output, binary_data=binary)]
        return lambda: self.http.infer(self.model, [given], outputs=wanted)

    def over_grpc(self, raw):
        request = service_pb2.ModelInferRequest(model_name=self.model)
        given = request.inputs.add(name=self.name, datatype=self.datatype, shape=self.value.shape)
        if raw and self.datatype == "FP32":
            request.raw_input_contents.append(self.value.tobytes())
        elif raw:
            request.raw_input_contents.append(b"".join(len(one).to_bytes(4, "little") + one for one in self.value))
        elif self.datatype == "FP32":
            given.contents.fp32_contents.extend(self.value.flatten())
        else:
            given.contents.bytes_contents.extend(self.value)
        return lambda: self.stub.ModelInfer(request)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--binary", default="target/release/repserve")
    arguments.add_argument("--model")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--requests", type=int, default=100)
    arguments.add_argument("--only", help="measures this request alone, such as '32 tensors'")
    options = arguments.parse_args()
    server = Server(options.binary, ["--model", options.model] if options.model else [], listeners=("address", "grpc"))
    with tritonclient.http.InferenceServerClient(text(server, "address")) as client:
        (model,) = [one["name"] for one in client.get_model_repository_index()]
        metadata = client.get_model_metadata(model)
    name, shape = metadata["inputs"][0]["name"], metadata["inputs"][0]["shape"][1:]
    values = numpy.random.default_rng(0)
    tensors = lambda count: values.standard_normal((count, *shape), dtype=numpy.float32)
    loads = [
        ("1 tensor", Load(server, metadata, name, "FP32", tensors(1))),
        ("32 tensors", Load(server, metadata, name, "FP32", tensors(32))),
        ("1 JPEG", Load(server, metadata, "images", "BYTES", numpy.array([picture(0)], dtype=object))),
    ]
    print("| request | form | CPU ms a request, median (quartiles) |\n|---|---|---|")
    for title, load in loads:
        if options.only not in (None, title):
            continue
        seen = {form: [] for form in load.forms}
        for round_ in range(options.rounds + 1):
            for form, send in load.forms.items():
                before = server.cpu_seconds_exactly()
                for _ in range(options.requests):
                    send()
                if round_ > 0:
                    seen[form].append((server.cpu_seconds_exactly() - before) / options.requests * 1e3)
        for form, all_ in seen.items():
            low, middle, high = statistics.quantiles(all_, n=4)
            print(f"| {title} | {form} | {middle:.3f} ({low:.3f} to {high:.3f}) |")
    server.close()


if __name__ == "__main__":
    main()
