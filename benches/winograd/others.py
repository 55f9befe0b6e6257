"""OpenVINO, ncnn and ONNX Runtime on a fused network, one thread each, taking turns; outputs are compared.

    mkdir networks && cargo bench --bench winograd -- --export networks "repvgg-a0 224x224 | batch 1, one thread"
    python benches/winograd/others.py "networks/repvgg-a0 224x224.onnx"

Wants the packages numpy, onnx, onnxruntime, openvino, ncnn and pnnx; what cannot be imported is left out. Compare with the line that
the bench prints for the lowered session: ONNX Runtime is measured by both.
"""

import os
import subprocess
import sys
import tempfile
import time

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import onnx

ROUNDS = 15


def onnxruntime_runner(path, image):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: image})[0].ravel()


def openvino_runner(path, image):
    import openvino

    core = openvino.Core()
    config = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    model = core.read_model(path)
    model.reshape(list(image.shape))
    request = core.compile_model(model, "CPU", config).create_infer_request()
    return lambda: request.infer([image])[0].ravel()


def ncnn_runner(path, image):
    import ncnn
    import pnnx

    folder = tempfile.mkdtemp()
    fixed = onnx.load(path)
    fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    for node in fixed.graph.output:
        node.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(fixed, f"{folder}/net.onnx")
    shape = ",".join(map(str, image.shape))
    command = [pnnx.EXEC_PATH, "net.onnx", f"inputshape=[{shape}]", "fp16=0"]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    net = ncnn.Net()
    net.opt.num_threads = 1
    net.opt.use_winograd_convolution = True
    net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = net.opt.use_fp16_packed = False
    net.opt.use_bf16_storage = False
    net.load_param(f"{folder}/net.ncnn.param")
    net.load_model(f"{folder}/net.ncnn.bin")
    pixels = ncnn.Mat(image[0])

    def run():
        with net.create_extractor() as extractor:
            extractor.input("in0", pixels)
            return np.array(extractor.extract("out0")[1]).ravel()

    return run


def main(path):
    dims = onnx.load(path).graph.input[0].type.tensor_type.shape.dim
    shape = [1] + [d.dim_value for d in dims[1:]]
    image = np.random.default_rng(7).uniform(-1, 1, shape).astype(np.float32)
    runners = {}
    for make in (onnxruntime_runner, openvino_runner, ncnn_runner):
        name = make.__name__.removesuffix("_runner")
        try:
            runners[name] = make(path, image)
        except ImportError as error:
            print(f"{name}: left out: {error}")
    times = {name: [] for name in runners}
    for _ in range(ROUNDS + 1):
        for name, run in runners.items():
            start = time.perf_counter()
            run()
            times[name].append(1e3 * (time.perf_counter() - start))
    expected = runners["onnxruntime"]()
    for name, run in runners.items():
        difference = np.abs(run() - expected).max() / np.abs(expected).max()
        print(f"{name}: {np.median(times[name][1:]):.2f} ms, difference {difference:.1e}")


if __name__ == "__main__":
    main(sys.argv[1])
