"""BentoML with a worker a core: `bentoml serve bentoml_server:Classifier --port PORT`, cores from PEER_CORES. It reads forms."""

import os
from pathlib import Path

import bentoml

from model import Model


@bentoml.service(workers=int(os.environ["PEER_CORES"]))
class Classifier:
    def __init__(self):
        self.model = Model()

    @bentoml.api(route="/classify")
    def classify(self, image: Path) -> dict:
        return self.model.classify(image.read_bytes())
