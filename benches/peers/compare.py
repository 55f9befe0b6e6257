"""repserve beside FastAPI, LitServe and mosec over the same network, photograph and cores, taking turns; the client is wrk.

    cargo build --release --features jpeg-turbo-simd
    mkdir networks && cargo bench --bench winograd -- --export networks "repvgg-a0 224x224 | batch 1, one thread"
    pip install -r benches/peers/requirements.txt     # and Debian's wrk
    python benches/peers/compare.py "networks/repvgg-a0 224x224.onnx" PHOTO.jpg [--rounds 3] [--seconds 8]

Each server runs alone while it is measured, with a one-thread session a core (repserve chooses for itself). Prints, for 1 and 16
connections, the median over the rounds of images/s and of wrk's latency percentiles, and checks that all answer alike.
"""

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
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
LUA = 'wrk.method = "POST"\nwrk.body = io.open("{body}", "rb"):read("*a")\nwrk.headers["content-type"] = "{kind}"\n'


def servers(model):
    """Name to command, environment, and whether it takes the image as a form."""
    python = [sys.executable]
    repserve = [os.path.join(ROOT, "target/release/repserve"), "serve", "--model", model, "--listen", f"127.0.0.1:{PORT}"]
    uvicorn = ["-m", "uvicorn", "fastapi_server:app", "--port", str(PORT), "--workers", str(CORES), "--log-level", "warning"]
    return {
        "repserve": (repserve, {}, False),
        "repserve, runtime.kernels=off": (repserve, {"REPSERVE__RUNTIME__KERNELS": "off"}, False),
        "FastAPI + onnxruntime": (python + uvicorn, {}, False),
        "LitServe": (python + ["litserve_server.py", str(PORT), str(CORES)], {}, True),
        "mosec": (python + ["mosec_server.py", "--port", str(PORT), "--address", "127.0.0.1"], {}, False),
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


def load(script, connections, seconds):
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "20s", "-s", script, URL]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        raise SystemExit(f"not every request was answered:\n{text}")
    units = {"us": 1e-3, "ms": 1.0, "s": 1e3}
    percentiles = {p: float(n) * units[u] for p, n, u in re.findall(r"(50|99)%\s+([\d.]+)(us|ms|s)", text)}
    return float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]), percentiles["50"], percentiles["99"]


def best(answer):
    """The probabilities of the best classes, whichever way the server wraps them."""
    classes = answer["predictions"][0]["classes"] if "predictions" in answer else answer["classes"]
    return {c["index"]: c["probability"] for c in classes}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network")
    parser.add_argument("photo")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=8)
    arguments = parser.parse_args()
    scratch = tempfile.mkdtemp(prefix="peers")
    with open(arguments.network, "rb") as source, open(f"{scratch}/model.onnx", "wb") as target:
        target.write(source.read())
    with open(f"{scratch}/model.toml", "w") as target:
        target.write(MANIFEST)
    with open(arguments.photo, "rb") as source:
        photo = source.read()
    bodies = {False: photo, True: form(photo)}
    for as_form, body in bodies.items():
        with open(f"{scratch}/body.{as_form}", "wb") as target:
            target.write(body)
        with open(f"{scratch}/{as_form}.lua", "w") as target:
            target.write(LUA.format(body=f"{scratch}/body.{as_form}", kind=kind(as_form)))
    os.environ |= {"PEER_MODEL": f"{scratch}/model.onnx", "PEER_CORES": str(CORES), "OMP_NUM_THREADS": "1"}
    figures, answers = {}, {}
    for _ in range(arguments.rounds):
        for name, (command, environment, as_form) in servers(scratch).items():
            with open(f"{scratch}/log", "w") as log, Running(command, environment, log, bodies[as_form], as_form) as answer:
                answers[name] = best(answer)
                for connections in (1, 16):
                    load(f"{scratch}/{as_form}.lua", connections, 1)
                    found = load(f"{scratch}/{as_form}.lua", connections, arguments.seconds)
                    figures.setdefault((name, connections), []).append(found)
    print("| server | connections | images/s | p50 ms | p99 ms |\n|---|---|---|---|---|")
    for (name, connections), rounds in figures.items():
        rate, p50, p99 = (statistics.median(column) for column in zip(*rounds))
        print(f"| {name} | {connections} | {rate:.1f} | {p50:.1f} | {p99:.1f} |")
    ours = answers["repserve"]
    for name, theirs in answers.items():
        common = ours.keys() & theirs.keys()
        furthest = max((abs(ours[i] - theirs[i]) for i in common), default=1.0)
        print(f"{name}: {len(common)} of {len(ours)} best classes are repserve's, probabilities within {furthest:.1e}")


if __name__ == "__main__":
    main()
