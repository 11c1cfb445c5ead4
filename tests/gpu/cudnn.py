"""The shipped nets by PyTorch and cuDNN in float16 beside the engine `cuda`: same weights, inputs and shapes.

cudnn.py FOLDER: FOLDER has what `models/examples/cuda.rs` left (`NET.in.f32`, `NET.out.f32`, `nets.log`). Prints a line of
JSON for each net: the median time of a series on cuDNN (channels last, one CUDA graph), the same eagerly, the ratio to ours
on the device, and the largest difference of either's logits from float32, as a fraction of their range.
"""

import json
import pathlib
import statistics
import sys

import numpy
import onnx
import torch
from onnx import numpy_helper

RUNS = 30


class Net(torch.nn.Module):
    """The operators that our nets have."""

    def __init__(self, path):
        super().__init__()
        self.graph = onnx.load(path).graph
        for tensor in self.graph.initializer:
            values = torch.from_numpy(numpy_helper.to_array(tensor).astype(numpy.float32))
            self.register_buffer(self.name(tensor.name), values)

    @staticmethod
    def name(name):
        return "t_" + "".join(c if c.isalnum() else "_" for c in name)

    def constants(self):
        return {tensor.name: getattr(self, self.name(tensor.name)) for tensor in self.graph.initializer}

    def forward(self, values):
        known = self.constants()
        known[self.graph.input[0].name] = values
        for node in self.graph.node:
            inputs = [known[name] for name in node.input if name]
            known[node.output[0]] = self.step(node, inputs)
        return known[self.graph.output[0].name]

    @staticmethod
    def step(node, inputs):
        ops = torch.nn.functional
        if node.op_type == "Conv":
            return ops.conv2d(*inputs, padding=inputs[1].shape[-1] // 2)
        if node.op_type == "Constant":
            # The factor of a Resize: two, in all our nets.
            return None
        if node.op_type == "Cast":
            # From the float16 of the file, which the whole net has here or has not.
            return inputs[0]
        if node.op_type == "Relu":
            return ops.relu(inputs[0])
        if node.op_type == "MaxPool":
            return ops.max_pool2d(inputs[0], 2)
        if node.op_type in ("Upsample", "Resize"):
            return ops.interpolate(inputs[0], scale_factor=2, mode="nearest")
        if node.op_type == "Concat":
            return torch.cat(inputs, 1)
        sys.exit(f"cudnn: {node.op_type} is not written here")


def median_ms(work):
    for _ in range(5):
        work()
    times = []
    for _ in range(RUNS):
        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        before.record()
        work()
        after.record()
        after.synchronize()
        times.append(before.elapsed_time(after))
    return statistics.median(times)


def graph_of(net, values):
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(3):
            net(values)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        net(values)
    return graph


def compare(folder, ours):
    name, shape = ours["net"], ours["shape"]
    net = Net(f"models/weights/{name}.onnx").cuda().eval()
    values = torch.from_numpy(numpy.fromfile(folder / f"{name}.in.f32", "<f4").reshape(shape)).cuda()
    exact = net(values)
    extent = float(exact.max() - exact.min())
    logits = torch.from_numpy(numpy.fromfile(folder / f"{name}.out.f32", "<f4").reshape(exact.shape)).cuda()
    halved = values.half().to(memory_format=torch.channels_last)
    net = net.half().to(memory_format=torch.channels_last)
    said = {
        "net": name,
        "ours_difference": float((logits - exact).abs().max()) / extent,
        "cudnn_difference": float((net(halved).float() - exact).abs().max()) / extent,
        "cudnn_eager_ms": median_ms(lambda: net(halved)),
        "cudnn_graph_ms": median_ms(graph_of(net, halved).replay),
        "ours_ms": ours["device_ms"],
    }
    said["cudnn_over_ours"] = said["cudnn_graph_ms"] / said["ours_ms"]
    print(json.dumps(said), flush=True)


def main():
    folder = pathlib.Path(sys.argv[1])
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    lines = [json.loads(line) for line in (folder / "nets.log").read_text().splitlines()]
    print(json.dumps({"torch": torch.__version__, "cudnn": torch.backends.cudnn.version()}), flush=True)
    with torch.inference_mode():
        for line in lines:
            if "net" in line:
                compare(folder, line)


main()
