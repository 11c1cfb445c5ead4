"""The shipped nets on the CPU, at f32 and in int8: our engine against ONNX Runtime and OpenVINO, same file, input and threads.

Shapes and batches are the service's: a lumbar exam of 20 slices, two at a time, and the cutouts of ten vertebrae, two at a
time. Each side answers one batch, then the next side the same, two threads each; all logits must agree first. ONNX Runtime
has no switch that holds it to AVX2, so ours held to AVX2 meets ONNX Runtime with everything it finds. The ratios are of
the medians of processor seconds, all threads together: on a machine that others use too, wall time is theirs as well.
The int8 form is NET.int8.onnx; every side gets the same Q/DQ. Ours at f32 runs beside it, for what int8 gives us.
Usage: infer.py [--quick | --roofline]   (--roofline: our layers as a share of the processor's multiply-adds, nothing else)
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

EXAMPLES = peers.TARGET / "release/examples"
THREADS = 2
# Net: shape of a batch, and batches of a series (20 slices of 353 x 353 padded to multiples of 32; ten vertebrae).
NETS = {"semantic": ((2, 5, 384, 384), 10), "instance": ((2, 180, 96, 80), 5)}
# Largest difference from ONNX Runtime, as a fraction of the range of its logits.
TOLERANCE = 1e-4
# The same of an int8 form, in the mean over the logits: sums of floats in another order put a value that lies between two
# steps on the other one, which moves some logits by a thousandth.
MEAN_TOLERANCE_OF_STEPS = 1e-2


def our_side(net, model, shape, instructions, source, folder):
    count, _, rows, columns = shape
    program = [EXAMPLES / "infer", net, model, count, rows, columns, THREADS, instructions, source]
    return Process(program, folder / f"{instructions}-{pathlib.Path(model).stem}.f32")


def onnxruntime_side(model, values):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
    # Threads that wait for work sleep: spinning would count as its processor time.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return Here(lambda: session.run(None, {name: values})[0])


def openvino_side(model, values):
    import openvino

    core = openvino.Core()
    net = core.read_model(model)
    net.reshape(values.shape)
    how = {"INFERENCE_NUM_THREADS": THREADS, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    request = core.compile_model(net, "CPU", how).create_infer_request()
    return Here(lambda: request.infer([values])[0])


def agreement(sides, form):
    """Largest and mean difference of each side from ONNX Runtime, as fractions of its range; ends the benchmark beyond the
    bound. Ours at f32 beside int8 is another net, and OpenVINO makes one of its own of the shipped int8 forms (.04 to .1 of the
    range from ONNX Runtime with and without its fusions, which agree): its speed is told, with the difference."""
    want = sides["onnxruntime"].values()
    extent = float(want.max() - want.min())
    differences = {}
    for name, side in sides.items():
        difference = abs(side.values() - want) / extent
        differences[name] = {"largest": float(difference.max()), "mean": float(difference.mean())}
    which, bound = ("largest", TOLERANCE) if form == "f32" else ("mean", MEAN_TOLERANCE_OF_STEPS)
    others = [] if form == "f32" else ["sagitta_f32", "openvino"]
    wrong = {name: of for name, of in differences.items() if name not in others and not of[which] <= bound}
    if wrong:
        sys.exit(f"infer: logits differ from ONNX Runtime's by {wrong} of their range")
    return differences


def bench(net, form, shape, rounds):
    import numpy

    values = numpy.random.default_rng(1).uniform(-2, 2, shape).astype(numpy.float32)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        released = {"f32": f"models/weights/{net}.onnx", "int8": f"models/weights/{net}.int8.onnx"}
        floats, model = (str(history.ROOT / released[which]) for which in ("f32", form))
        source = folder / "in.f32"
        values.tofile(source)
        sides = {
            "sagitta": our_side(net, model, shape, best_instructions(), source, folder),
            "onnxruntime": onnxruntime_side(model, values),
            "sagitta_avx2": our_side(net, model, shape, "avx2", source, folder),
            "openvino": openvino_side(model, values),
        }
        if form == "int8":
            sides["sagitta_f32"] = our_side(net, floats, shape, best_instructions(), source, folder)
        differences = agreement(sides, form)
        seconds = timed(sides, rounds)
    return {"shape": shape, "weights": released[form], "difference_of_range": differences, "seconds": seconds}


def best_instructions():
    flags = pathlib.Path("/proc/cpuinfo").read_text().split()
    return "avx512" if "avx512f" in flags else "avx2"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one series")
    parser.add_argument("--roofline", action="store_true", help="our layers alone")
    arguments = parser.parse_args()
    example = "roofline" if arguments.roofline else "infer"
    subprocess.run(["cargo", "build", "--release", "--locked", "-q", "-p", "models", "--example", example], check=True)
    if arguments.roofline:
        sys.exit(subprocess.run([EXAMPLES / "roofline"]).returncode)
    peers.enter()
    quick, series = arguments.quick, 1 if arguments.quick else 6
    runs = {
        f"{net}.{form}": bench(net, form, shape, series * batches)
        for net, (shape, batches) in NETS.items()
        for form in ("f32", "int8")
    }
    run = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "command": "tests/bench/run infer" + (" --quick" if quick else ""),
        "machine": history.machine() | {"python": sys.version.split()[0], "instructions": best_instructions()},
        "threads": THREADS,
        "peer": peers.pins(),
        "runs": runs,
    }
    path = history.keep(run, "infer", quick)
    print(f"one batch, {THREADS} threads, {series} series; ms, median (lowest): processor, wall; mean difference of the logits")
    for net, result in runs.items():
        for side, times in result["seconds"].items():
            cells = [f"{statistics.median(times[of]) * 1e3:8.1f} ({min(times[of]) * 1e3:.1f})" for of in ("processor", "wall")]
            print(f"  {net:13} {side:13} {'  '.join(cells)}  {result['difference_of_range'][side]['mean']:.1e}")
    print(f"raw run: {path}")
    for net, result in runs.items():
        median = {side: statistics.median(times["processor"]) for side, times in result["seconds"].items()}
        for peer in ("onnxruntime", "openvino"):
            print(f"ratio infer.{net}.{peer} {median[peer] / median['sagitta']:.2f}")
        print(f"ratio infer.{net}.avx2.onnxruntime {median['onnxruntime'] / median['sagitta_avx2']:.2f}")
        if "sagitta_f32" in median:
            print(f"ratio infer.{net}.f32 {median['sagitta_f32'] / median['sagitta']:.2f}")


main()
