"""The servers that are compared: how each is started, and what it is sent."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
REPSERVE = os.path.join(ROOT, "target/release/repserve")
PORT = 8461
URL = f"http://127.0.0.1:{PORT}/classify"
CORES = len(os.sched_getaffinity(0))
BOUNDARY = "peers"
MANIFEST = """name = "network"
version = "1"
file = "model.onnx"
[input]
size = [224, 224]
resize = 256
interpolation = "bilinear"
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
"""


def repserve_command(binary, model):
    return [binary, "serve", "--model", model, "--listen", f"127.0.0.1:{PORT}"]


def servers(model):
    """Name to command, environment, and whether it takes the image as a form."""
    python = [sys.executable]
    repserve = repserve_command(REPSERVE, model)
    uvicorn = ["-m", "uvicorn", "fastapi_server:app", "--port", str(PORT), "--workers", str(CORES), "--log-level", "warning"]
    return {
        "repserve": (repserve, {}, False),
        "repserve, runtime.kernels=off": (repserve, {"REPSERVE__RUNTIME__KERNELS": "off"}, False),
        "FastAPI + onnxruntime": (python + uvicorn, {}, False),
        "LitServe": (python + ["litserve_server.py", str(PORT), str(CORES)], {}, True),
        "mosec": (python + ["mosec_server.py", "--port", str(PORT), "--address", "127.0.0.1"], {}, False),
        "BentoML": (python + ["-m", "bentoml", "serve", "bentoml_server:Classifier", "--port", str(PORT)], {}, True),
    }


def form(photo):
    head = f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="image"; filename="i.jpg"\r\ncontent-type: image/jpeg\r\n\r\n'
    return head.encode() + photo + f"\r\n--{BOUNDARY}--\r\n".encode()


def kind(as_form):
    return f"multipart/form-data; boundary={BOUNDARY}" if as_form else "image/jpeg"


def ask(body, as_form):
    request = urllib.request.Request(URL, data=body, headers={"content-type": kind(as_form)})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


class Running:
    """A server that answers; all its processes end with the block."""

    def __init__(self, command, environment, log, body, as_form):
        environment = os.environ | environment
        self.process = subprocess.Popen(
            command, cwd=HERE, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        self.body, self.as_form, self.log = body, as_form, log

    def __enter__(self):
        end, last = time.monotonic() + 60, None
        while time.monotonic() < end:
            try:
                return ask(self.body, self.as_form)
            except OSError as error:
                last = error
                if self.process.poll() is not None:
                    break
                time.sleep(0.2)
        self.__exit__()
        raise SystemExit(f"it does not answer ({last}); see {self.log.name}")

    def __exit__(self, *_):
        for sign in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, sign)
                self.process.wait(10)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                pass


def prepare(network, photo):
    """A folder with the network as a model, and the photograph as bodies: by whether it is a form, (file, bytes)."""
    scratch = tempfile.mkdtemp(prefix="peers")
    shutil.copy(network, f"{scratch}/model.onnx")
    with open(f"{scratch}/model.toml", "w") as target:
        target.write(MANIFEST)
    with open(photo, "rb") as source:
        photo = source.read()
    bodies = {}
    for as_form, body in {False: photo, True: form(photo)}.items():
        bodies[as_form] = (f"{scratch}/body.{as_form}", body)
        with open(bodies[as_form][0], "wb") as target:
            target.write(body)
    os.environ |= {"PEER_MODEL": f"{scratch}/model.onnx", "PEER_CORES": str(CORES), "OMP_NUM_THREADS": "1"}
    return scratch, bodies
