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
from net import ConvUnit, UNet
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

OPSET = 17


def folded(unit: ConvUnit) -> tuple[Tensor, Tensor]:
    """Weights and bias of the convolution that does what the unit does in evaluation, before the ReLU."""
    norm = unit.norm
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return unit.conv.weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale


class Graph:
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

    def pool(self, name: str, x: str) -> str:
        return self.add("MaxPool", [x], name, kernel_shape=[2, 2], strides=[2, 2])

    def join(self, name: str, x: str, skip: str) -> str:
        return self.add("Concat", [self.upsample(name, x), skip], f"{name}.joined", axis=1)

    def head(self, x: str, head: nn.Conv2d) -> None:
        self.conv("head", x, head.weight, head.bias)
        self.nodes[-1].output[0] = "logits"

    def save(self, path: Path, channels: dict[str, int], said: dict[str, str]) -> str:
        """Writes the file, whole or not at all, and returns its SHA-256. `channels`: input, then output."""
        ends = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", count, "H", "W"])
            for name, count in channels.items()
        ]
        graph = helper.make_graph(self.casts + self.nodes, "sagitta", ends[:1], ends[1:], self.initialisers)
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=8, producer_name="sagitta models/train")
        helper.set_model_props(model, said)
        onnx.checker.check_model(model, full_check=True)
        data = model.SerializeToString(deterministic=True)
        part = path.with_name(path.name + ".part")
        part.write_bytes(data)
        part.replace(path)
        return hashlib.sha256(data).hexdigest()


def write(net: UNet, path: Path, said: dict[str, str]) -> str:
    """Writes `net` as ONNX and returns the SHA-256 of the file. The same net gives the same bytes.

    `said` is what the weights say of themselves (metadata), for the service to compare with the card.
    """
    graph, x, skips = Graph(), "slices", []
    for depth, block in enumerate(net.down):
        if depth:
            x = graph.pool(f"pool.{depth}", x)
        x = graph.block(f"down.{depth}", x, block)
        skips.append(x)
    for depth, block in enumerate(net.up):
        x = graph.join(f"up.{depth}", x, skips[-2 - depth])
        x = graph.block(f"up.{depth}", x, block)
    graph.head(x, net.head)
    channels = {"slices": net.down[0][0].conv.in_channels, "logits": net.head.out_channels}
    return graph.save(path, channels, said)


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
    """Gives every normalisation of a freshly `read` net the statistics of `batch`; the net does what it did."""

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
