"""What every peer does with a request: decode, preprocess as RepVGG was trained, run ONNX Runtime on one thread, name the best classes."""

import io
import os

import numpy as np
import onnxruntime
from PIL import Image

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
SIDE, RESIZE = 224, 256


class Model:
    """One session; each worker process has its own."""

    def __init__(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(os.environ["PEER_MODEL"], options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name

    def tensor(self, encoded):
        image = Image.open(io.BytesIO(encoded))
        image.draft("RGB", (RESIZE, RESIZE))
        image = image.convert("RGB")
        scale = RESIZE / min(image.size)
        image = image.resize([round(side * scale) for side in image.size], Image.Resampling.BILINEAR)
        left, top = ((side - SIDE) // 2 for side in image.size)
        pixels = np.asarray(image.crop((left, top, left + SIDE, top + SIDE)), np.float32) / 255
        return ((pixels - MEAN) / STD).transpose(2, 0, 1)[None]

    def best(self, logits):
        exponents = np.exp(logits - logits.max())
        order = np.argsort(-exponents)[:5]
        return [{"index": int(i), "probability": float(exponents[i] / exponents.sum())} for i in order]

    def classify(self, encoded):
        return {"classes": self.best(self.session.run(None, {self.input: self.tensor(encoded)})[0][0])}
