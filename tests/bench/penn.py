"""The patch net for enhancing tumours at every second pixel of slices of 512 x 512: our engine against PyTorch and ONNX Runtime.

Shipped weights, two threads each, one slice a turn, all scores within 1e-5 of ONNX Runtime's first. `patches` is the method as
published: every patch is written out and passes the layers as a vector of 1024, in batches. `slices` is ONNX Runtime on the
same net as convolutions with the stride. The figures are of 15 slices. The textbook's multiply-adds are 250 thousand millions;
ours runs fewer, for windows share products. The paper tells 9 s a slice (on a processor of its time, patches one by one).
PyTorch is Debian's, as for the training: without a fast product of matrices, so slow that it gets one turn, at the end. Ratios are of the medians of processor seconds, all threads together.
Usage: penn.py [--quick]
"""

import argparse
import datetime
import pathlib
import statistics
import subprocess
import sys
import tempfile

import history
import peers
from sides import Here, Process, timed

EXAMPLE = peers.TARGET / "release/examples/patches"
MODEL = history.ROOT / "models/weights/penn.onnx"
PYTHON_WITH_TORCH = "/usr/bin/python3"
THREADS, SLICES = 2, 15
SIZE, STRIDE, SIDE = 512, 2, 32
# Patches in a batch: their values, 16 MB, are not larger than caches of the last level.
BATCH = 4096
TOLERANCE = 1e-5
PAPER_SECONDS = 9
# Arguments: weights and biases in turn in a numpy file, the slice, where the scores go.
TORCH = f"""
import sys, numpy, torch
torch.set_num_threads({THREADS})
values = [torch.from_numpy(values) for values in numpy.load(sys.argv[1]).values()]
layers = list(zip(values[::2], values[1::2]))
plane = torch.from_numpy(numpy.fromfile(sys.argv[2], "<f4").reshape({SIZE}, {SIZE}))
def run():
    windows = plane.unfold(0, {SIDE}, {STRIDE}).unfold(1, {SIDE}, {STRIDE})
    across = windows.shape[1]
    scores = []
    rows = {BATCH} // across
    for top in range(0, windows.shape[0], rows):
        values = windows[top:top + rows].reshape(-1, {SIDE * SIDE})
        for weights, bias in layers:
            values = torch.sigmoid(torch.nn.functional.linear(values, weights, bias))
        scores.append(values)
    return torch.cat(scores)
with torch.no_grad():
    run().numpy().tofile(sys.argv[3])
    print("ready", flush=True)
    for line in sys.stdin:
        run()
        print("done", flush=True)
"""


def session(model):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
    # Threads that wait for work sleep: spinning would count as its processor time.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def onnxruntime_slices(plane):
    """The shipped file with the stride at its first convolution."""
    import onnx

    model = onnx.load(MODEL)
    first = next(node for node in model.graph.node if node.op_type == "Conv")
    first.attribute.append(onnx.helper.make_attribute("strides", [STRIDE, STRIDE]))
    for end in (*model.graph.input, *model.graph.output):
        end.type.tensor_type.ClearField("shape")
    net = session(model)
    name = net.get_inputs()[0].name
    return Here(lambda: net.run(None, {name: plane[None, None]})[0][0].transpose(1, 2, 0))


def onnxruntime_patches(layers, plane):
    """The layers over vectors."""
    import numpy
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants = [], []
    for n, (weights, bias) in enumerate(layers):
        constants += [numpy_helper.from_array(weights, f"w{n}"), numpy_helper.from_array(bias, f"b{n}")]
        nodes.append(helper.make_node("Gemm", [f"v{n}", f"w{n}", f"b{n}"], [f"s{n}"], transB=1))
        nodes.append(helper.make_node("Sigmoid", [f"s{n}"], [f"v{n + 1}"]))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("v0", f"v{len(layers)}")]
    graph = helper.make_graph(nodes, "patches", ends[:1], ends[1:], constants)
    net = session(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10))

    def run():
        windows = numpy.lib.stride_tricks.sliding_window_view(plane, (SIDE, SIDE))[::STRIDE, ::STRIDE]
        rows = BATCH // windows.shape[1]
        batches = (windows[top : top + rows].reshape(-1, SIDE * SIDE) for top in range(0, len(windows), rows))
        return numpy.concatenate([net.run(None, {"v0": batch})[0] for batch in batches])

    return Here(run)


def bench(rounds):
    import numpy
    import onnx

    constants = {c.name: onnx.numpy_helper.to_array(c).astype(numpy.float32) for c in onnx.load(MODEL).graph.initializer}
    values = list(constants.values())
    layers = [(w.reshape(len(w), -1), b) for w, b in zip(values[::2], values[1::2])]
    plane = numpy.random.default_rng(1).random((SIZE, SIZE), numpy.float32)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        source, weights = folder / "slice.f32", folder / "weights.npz"
        plane.tofile(source)
        numpy.savez(weights, *[values for layer in layers for values in layer])
        ours = [EXAMPLE, MODEL, SIZE, STRIDE, THREADS]
        sides = {
            "sagitta": Process([*ours, best_instructions(), source], folder / "ours.f32"),
            "onnxruntime_patches": onnxruntime_patches(layers, plane),
            "torch_patches": Process([PYTHON_WITH_TORCH, "-c", TORCH, weights, source], folder / "torch.f32"),
            "onnxruntime_slices": onnxruntime_slices(plane),
            "sagitta_avx2": Process([*ours, "avx2", source], folder / "avx2.f32"),
        }
        want = sides["onnxruntime_patches"].values()
        far = {name: float(abs(side.values() - want).max()) for name, side in sides.items()}
        if max(far.values()) > TOLERANCE:
            sys.exit(f"penn: scores differ from ONNX Runtime's by {far}")
        slow = {"torch_patches": sides.pop("torch_patches")}
        return far, timed(sides, rounds) | timed(slow, 1)


def best_instructions():
    flags = pathlib.Path("/proc/cpuinfo").read_text().split()
    return "avx512" if "avx512f" in flags else "avx2"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three slices")
    quick = parser.parse_args().quick
    subprocess.run(["cargo", "build", "--release", "--locked", "-q", "-p", "models", "--example", "patches"], check=True)
    peers.enter()
    far, seconds = bench(3 if quick else SLICES)
    run = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "command": "tests/bench/run penn" + (" --quick" if quick else ""),
        "machine": history.machine() | {"instructions": best_instructions()},
        "threads": THREADS,
        "slice": {"size": SIZE, "stride": STRIDE},
        "paper_seconds_per_slice": PAPER_SECONDS,
        "peer": peers.pins(),
        "difference": far,
        "seconds": seconds,
    }
    path = history.keep(run, "penn", quick)
    print(f"{SLICES} slices of {SIZE} x {SIZE}, stride {STRIDE}, {THREADS} threads; s, of the median slice: processor, wall")
    whole = {
        side: {of: statistics.median(values) * SLICES for of, values in times.items()} for side, times in seconds.items()
    }
    for side, of in whole.items():
        print(f"  {side:20} {of['processor']:8.2f} {of['wall']:8.2f}   scores within {far[side]:.1e}")
    print(f"  the paper's own {PAPER_SECONDS * SLICES:13}")
    print(f"raw run: {path}")
    for peer in ("onnxruntime_patches", "torch_patches", "onnxruntime_slices"):
        print(f"ratio penn.{peer} {whole[peer]['processor'] / whole['sagitta']['processor']:.2f}")
    print(f"ratio penn.avx2.onnxruntime_patches {whole['onnxruntime_patches']['processor'] / whole['sagitta_avx2']['processor']:.2f}")
    print(f"value penn.seconds {whole['sagitta']['wall']:.2f} s")
    print(f"value penn.processor {whole['sagitta']['processor']:.2f} s")


main()
