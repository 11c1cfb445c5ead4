"""Weights as float16 ONNX: the one format for release, checkpoint and resumption.

Batch normalisation is folded into the convolutions, so a file holds what the engines run. To train on, `read` takes the
folded weights and `unfold` gives each normalisation statistics and an affine part that cancel out on a calibration
batch: the net starts as exactly the released one.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from net import ConvUnit, UNet

OPSET = 17


def folded(unit: ConvUnit) -> tuple[Tensor, Tensor]:
    """Weights and bias of the convolution that does what the unit does in evaluation, before the ReLU."""
    norm = unit.norm
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return unit.conv.weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale


class _Graph:
    """Nodes and float16 initialisers, each widened by a Cast: valid ONNX, computed in float32 by every reader."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.casts: list[onnx.NodeProto] = []
        self.initialisers: list[onnx.TensorProto] = []

    def constant(self, name: str, values: Tensor) -> str:
        half = values.detach().cpu().numpy().astype(np.float16)
        if not np.isfinite(half).all():
            raise ValueError(f"{name} does not fit into float16: the training has diverged")
        self.initialisers.append(numpy_helper.from_array(half, f"{name}.f16"))
        self.casts.append(helper.make_node("Cast", [f"{name}.f16"], [name], f"cast/{name}", to=TensorProto.FLOAT))
        return name

    def add(self, operator: str, inputs: list[str], output: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], output, **attributes))
        return output

    def conv(self, name: str, x: str, weight: Tensor, bias: Tensor) -> str:
        size = weight.shape[-1]
        names = [self.constant(f"{name}.weight", weight), self.constant(f"{name}.bias", bias)]
        return self.add("Conv", [x, *names], f"{name}.conv", kernel_shape=[size] * 2, pads=[size // 2] * 4)

    def block(self, name: str, x: str, block: nn.Sequential) -> str:
        for n, unit in enumerate(block):
            x = self.add("Relu", [self.conv(f"{name}.{n}", x, *folded(unit))], f"{name}.{n}")
        return x

    def upsample(self, name: str, x: str) -> str:
        scales = numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), f"{name}.scales")
        self.nodes.append(helper.make_node("Constant", [], [f"{name}.scales"], f"{name}.scales", value=scales))
        rule = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return self.add("Resize", [x, "", f"{name}.scales"], f"{name}.twice", **rule)


def write(net: UNet, path: Path) -> str:
    """Writes `net` as ONNX and returns the SHA-256 of the file. The same net gives the same bytes."""
    graph, x, skips = _Graph(), "slices", []
    for depth, block in enumerate(net.down):
        if depth:
            x = graph.add("MaxPool", [x], f"pool.{depth}", kernel_shape=[2, 2], strides=[2, 2])
        x = graph.block(f"down.{depth}", x, block)
        skips.append(x)
    for depth, block in enumerate(net.up):
        twice = graph.upsample(f"up.{depth}", x)
        x = graph.add("Concat", [twice, skips[-2 - depth]], f"up.{depth}.joined", axis=1)
        x = graph.block(f"up.{depth}", x, block)
    graph.conv("head", x, net.head.weight, net.head.bias)
    graph.nodes[-1].output[0] = "logits"
    channels, classes = net.down[0][0].conv.in_channels, net.head.out_channels
    model = helper.make_model(
        helper.make_graph(
            graph.casts + graph.nodes,
            "sagitta",
            [helper.make_tensor_value_info("slices", TensorProto.FLOAT, ["N", channels, "H", "W"])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", classes, "H", "W"])],
            graph.initialisers,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=8,
        producer_name="sagitta models/train",
    )
    onnx.checker.check_model(model, full_check=True)
    data = model.SerializeToString(deterministic=True)
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def read(net: UNet, path: Path) -> None:
    """Fills `net` with the folded weights of `path`; call `unfold` before training on."""
    graph = onnx.load(path).graph
    stored = {tensor.name.removesuffix(".f16"): numpy_helper.to_array(tensor) for tensor in graph.initializer}
    pairs = [[stored[name] for name in node.input[1:]] for node in graph.node if node.op_type == "Conv"]
    convs: list[nn.Conv2d] = [unit.conv for unit in net.units()] + [net.head]
    wanted, found = [tuple(c.weight.shape) for c in convs], [weight.shape for weight, _ in pairs]
    if wanted != found:
        raise ValueError(f"{path} holds convolutions of shapes {found}; the net has {wanted}: is it another tier?")
    with torch.no_grad():
        for conv, (weight, _) in zip(convs, pairs, strict=True):
            conv.weight.copy_(torch.from_numpy(weight.astype(np.float32)))
        for unit, (_, bias) in zip(net.units(), pairs, strict=False):
            unit.norm.reset_running_stats()
            unit.norm.weight.fill_(float(np.sqrt(1.0 + unit.norm.eps)))
            unit.norm.bias.copy_(torch.from_numpy(bias.astype(np.float32)))
        net.head.bias.copy_(torch.from_numpy(pairs[-1][1].astype(np.float32)))


@torch.no_grad()
def unfold(net: UNet, batch: Tensor) -> None:
    """Gives every normalisation of a freshly `read` net the statistics of `batch` without changing what the net does."""

    def calibrate(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> object:
        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            mean, variance = output.mean((0, 2, 3)), output.var((0, 2, 3), unbiased=False)
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(variance)
            norm.weight.copy_(torch.sqrt(variance + norm.eps))
            norm.bias.add_(mean)

        return conv.register_forward_hook(hook)

    net.eval()
    hooks = [calibrate(unit.conv, unit.norm) for unit in net.units()]
    net(batch)
    for hook in hooks:
        hook.remove()
    net.train()
