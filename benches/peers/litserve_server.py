"""LitServe with a worker a core: `python litserve_server.py PORT CORES`. It reads forms."""

import sys

import litserve

from model import Model


class Classifier(litserve.LitAPI):
    def setup(self, device):
        self.model = Model()

    def decode_request(self, request):
        return request["image"].file.read()

    def predict(self, encoded):
        return self.model.classify(encoded)

    def encode_response(self, output):
        return output


if __name__ == "__main__":
    port, cores = map(int, sys.argv[1:])
    server = litserve.LitServer(Classifier(api_path="/classify"), accelerator="cpu", workers_per_device=cores)
    server.run(port=port, host="127.0.0.1", generate_client_file=False, log_level="warning")
