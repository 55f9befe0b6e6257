"""OpenVINO, ncnn and ONNX Runtime on a fused network, one thread each, taking turns; outputs are compared.

    mkdir networks && cargo bench --bench winograd -- --export networks "repvgg-a0 224x224 | batch 1, one thread"
    python benches/winograd/others.py "networks/repvgg-a0 224x224.onnx"

Wants the packages numpy, onnx, onnxruntime, openvino and ncnn; what cannot be imported, or run, is left out. Compare with the line that
the bench prints for the lowered session: ONNX Runtime is measured by both.
"""

import os
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


def ncnn_files(graph, folder):
    """The graph, a chain of Conv, Relu, GlobalAveragePool, Flatten and Gemm, in ncnn's own two files; a ReLU follows a Conv, which takes it along."""
    constants = {c.name: onnx.numpy_helper.to_array(c) for c in graph.initializer}
    blob = last = graph.input[0].name
    layers, weights = [f"Input in 0 1 {blob}"], []
    for node in graph.node:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        if node.input[0] != blob or node.op_type not in ("Conv", "Relu", "GlobalAveragePool", "Flatten", "Gemm"):
            raise ImportError(f"{node.op_type} is more than a chain")
        blob = node.output[0].replace(" ", "_")
        place = f"{node.op_type}_{len(layers)} 1 1 {last} {blob}"
        if node.op_type in ("Conv", "Gemm"):
            weight = constants[node.input[1]]
            if node.op_type == "Gemm" and not attributes.get("transB"):
                weight = weight.T
            bias = constants[node.input[2]] if len(node.input) > 2 else np.zeros(weight.shape[0], np.float32)
            weights.append(b"\0\0\0\0" + np.ascontiguousarray(weight).tobytes() + bias.tobytes())
        if node.op_type == "Conv":
            (top, left, bottom, right), group = attributes.get("pads", [0] * 4), attributes.get("group", 1)
            (rows, columns), (down, across) = weight.shape[2:], attributes.get("strides", [1, 1])
            kind = "Convolution" if group == 1 else "ConvolutionDepthWise"
            layers.append(
                f"{kind} {place} 0={weight.shape[0]} 1={columns} 11={rows} 3={across} 13={down} 4={left} 14={top} "
                f"15={right} 16={bottom} 5=1 6={weight.size}" + (f" 7={group}" if group > 1 else "")
            )
        elif node.op_type == "Relu":
            kind, name, inputs, outputs, source, _, *rest = layers[-1].split()
            layers[-1] = " ".join([kind, name, inputs, outputs, source, blob, *rest, "9=1"])
        elif node.op_type == "GlobalAveragePool":
            layers.append(f"Pooling {place} 0=1 4=1")
        elif node.op_type == "Flatten":
            layers.append(f"Flatten {place}")
        else:
            layers.append(f"InnerProduct {place} 0={weight.shape[0]} 1=1 2={weight.size}")
        last, blob = blob, node.output[0]
    with open(f"{folder}/net.param", "w") as file:
        file.write("\n".join(["7767517", f"{len(layers)} {len(layers)}"] + layers) + "\n")
    with open(f"{folder}/net.bin", "wb") as file:
        file.write(b"".join(weights))
    return graph.input[0].name, last


def ncnn_runner(path, image):
    import ncnn

    folder = tempfile.mkdtemp()
    first, last = ncnn_files(onnx.load(path).graph, folder)
    net = ncnn.Net()
    net.opt.num_threads = 1
    net.opt.use_winograd_convolution = True
    net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = net.opt.use_fp16_packed = False
    net.opt.use_bf16_storage = False
    net.load_param(f"{folder}/net.param")
    net.load_model(f"{folder}/net.bin")
    pixels = ncnn.Mat(image[0])

    def run():
        with net.create_extractor() as extractor:
            extractor.input(first, pixels)
            return np.array(extractor.extract(last)[1]).ravel()

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
