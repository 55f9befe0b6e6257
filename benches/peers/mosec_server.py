"""mosec with a worker process a core: `python mosec_server.py --port PORT`, cores from PEER_CORES."""

import os

import mosec

from model import Model


class Classifier(mosec.Worker):
    def __init__(self):
        super().__init__()
        self.model = Model()

    def deserialize(self, data):
        return data

    def forward(self, data):
        return self.model.classify(data)


if __name__ == "__main__":
    server = mosec.Server()
    server.register_runtime({"/classify": [mosec.Runtime(Classifier, num=int(os.environ["PEER_CORES"]))]})
    server.run()
