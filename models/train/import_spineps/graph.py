"""An ONNX graph written node by node, opset 17, with the parameters of a checkpoint under their own names.

Spatial sizes are fixed, the batch is free. Nothing is folded or fused: the file says what the network is, the engine
makes it fast.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from . import VERSION
from .state import State

OPSET = 17
"""Known to ONNX Runtime 1.12, TensorRT 8.6 and all later ones."""
IR_VERSION = 8
"""The file format that came with opset 17."""
EPSILON = 1e-5
"""Of every normalisation in these networks (torch's default, and nnU-Net's plans)."""
LEAK = 0.01
"""Slope of LeakyReLU below zero (torch's default, which all these networks keep)."""

Sides = tuple[int, int, int]


@dataclass(frozen=True)
class Map:
    """A feature map [batch, channels, *sides] by its name in the graph."""

    name: str
    channels: int
    sides: Sides


class Graph:
    """Appends nodes in the order of computation; each method returns the map that its node makes."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, channels: int, sides: Sides) -> Map:
        self._inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", channels, *sides]))
        return Map(name, channels, sides)

    def output(self, name: str, source: str, shape: Sequence[int]) -> None:
        self._nodes.append(helper.make_node("Identity", [source], [name], name=name))
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape]))

    def model(self, name: str) -> onnx.ModelProto:
        """The finished model, checked with strict inference of all shapes."""
        graph = helper.make_graph(self._nodes, name, self._inputs, self._outputs, list(self._constants.values()))
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="import_spineps",
            producer_version=VERSION,
        )
        onnx.checker.check_model(model, full_check=True)
        return model

    def conv(
        self,
        x: Map,
        path: str,
        channels: int,
        kernel: Sides,
        stride: Sides = (1, 1, 1),
        *,
        bias: bool = True,
        padding: int | None = None,
    ) -> Map:
        """Padding is half the kernel unless given."""
        names = [x.name, self._parameter(f"{path}.weight", (channels, x.channels, *kernel))]
        if bias:
            names.append(self._parameter(f"{path}.bias", (channels,)))
        pads = [(k - 1) // 2 if padding is None else padding for k in kernel]
        sides = _sides((n + 2 * p - k) // s + 1 for n, p, k, s in zip(x.sides, pads, kernel, stride))
        self._node("Conv", names, path, kernel_shape=kernel, strides=stride, pads=pads + pads)
        return Map(path, channels, sides)

    def up_conv(
        self, x: Map, path: str, channels: int, kernel: Sides, stride: Sides, *, bias: bool = True, padding: int = 0
    ) -> Map:
        """Transposed convolution."""
        names = [x.name, self._parameter(f"{path}.weight", (x.channels, channels, *kernel))]
        if bias:
            names.append(self._parameter(f"{path}.bias", (channels,)))
        sides = _sides((n - 1) * s + k - 2 * padding for n, k, s in zip(x.sides, kernel, stride))
        self._node("ConvTranspose", names, path, kernel_shape=kernel, strides=stride, pads=[padding] * 6)
        return Map(path, channels, sides)

    def instance_norm(self, x: Map, path: str) -> Map:
        names = [self._parameter(f"{path}.{part}", (x.channels,)) for part in ("weight", "bias")]
        self._node("InstanceNormalization", [x.name, *names], path, epsilon=EPSILON)
        return Map(path, x.channels, x.sides)

    def group_norm(self, x: Map, path: str, groups: int) -> Map:
        """Written out, and each mean as the mean of the means along rows. With one InstanceNormalization, ONNX Runtime
        adds the 9.7 million numbers of a cutout's group in one row, which was wrong by 1e-3; so it is right to 2e-6
        and faster."""
        rows = x.channels // groups * x.sides[0]
        apart = self._constant(f"rows.{groups}.{rows}", np.array([0, groups, rows, -1], np.int64))
        whole = "x".join(str(n) for n in (x.channels, *x.sides))
        together = self._constant(f"shape.{whole}", np.array([0, x.channels, *x.sides], np.int64))
        epsilon = self._constant("epsilon", np.array(EPSILON, np.float32))
        self._node("Reshape", [x.name, apart], f"{path}.rows")
        self._mean_of_rows(f"{path}.rows", f"{path}.mean")
        self._node("Sub", [f"{path}.rows", f"{path}.mean"], f"{path}.centred")
        self._node("Mul", [f"{path}.centred", f"{path}.centred"], f"{path}.square")
        self._mean_of_rows(f"{path}.square", f"{path}.variance")
        self._node("Add", [f"{path}.variance", epsilon], f"{path}.positive")
        self._node("Sqrt", [f"{path}.positive"], f"{path}.deviation")
        self._node("Div", [f"{path}.centred", f"{path}.deviation"], f"{path}.normal")
        self._node("Reshape", [f"{path}.normal", together], f"{path}.channels")
        scale = self._parameter(f"{path}.weight", (x.channels,), (x.channels, 1, 1, 1))
        shift = self._parameter(f"{path}.bias", (x.channels,), (x.channels, 1, 1, 1))
        self._node("Mul", [f"{path}.channels", scale], f"{path}.scaled")
        self._node("Add", [f"{path}.scaled", shift], path)
        return Map(path, x.channels, x.sides)

    def _mean_of_rows(self, source: str, name: str) -> None:
        """Of [batch, groups, rows, columns] to [batch, groups, 1, 1]; the rows are equally long."""
        self._node("ReduceMean", [source], f"{name}.rows", axes=[3], keepdims=1)
        self._node("ReduceMean", [f"{name}.rows"], name, axes=[2], keepdims=1)

    def batch_norm(self, x: Map, path: str) -> Map:
        parts = ("weight", "bias", "running_mean", "running_var")
        names = [self._parameter(f"{path}.{part}", (x.channels,)) for part in parts]
        self._state.leave(f"{path}.num_batches_tracked", (), "a counter of the training")
        self._node("BatchNormalization", [x.name, *names], path, epsilon=EPSILON)
        return Map(path, x.channels, x.sides)

    def relu(self, x: Map) -> Map:
        self._node("Relu", [x.name], f"{x.name}.relu")
        return Map(f"{x.name}.relu", x.channels, x.sides)

    def leaky_relu(self, x: Map) -> Map:
        self._node("LeakyRelu", [x.name], f"{x.name}.relu", alpha=LEAK)
        return Map(f"{x.name}.relu", x.channels, x.sides)

    def add(self, a: Map, b: Map, name: str) -> Map:
        self._node("Add", [a.name, b.name], name)
        return Map(name, a.channels, a.sides)

    def halve(self, x: Map) -> Map:
        half = self._constant("half", np.array(0.5, np.float32))
        self._node("Mul", [x.name, half], f"{x.name}.half")
        return Map(f"{x.name}.half", x.channels, x.sides)

    def concat(self, maps: Sequence[Map], name: str) -> Map:
        self._node("Concat", [m.name for m in maps], name, axis=1)
        return Map(name, sum(m.channels for m in maps), maps[0].sides)

    def max_pool(self, x: Map, name: str, kernel: Sides, stride: Sides, padding: int) -> Map:
        sides = _sides((n + 2 * padding - k) // s + 1 for n, k, s in zip(x.sides, kernel, stride))
        self._node("MaxPool", [x.name], name, kernel_shape=kernel, strides=stride, pads=[padding] * 6)
        return Map(name, x.channels, sides)

    def average_pool(self, x: Map, name: str, stride: Sides) -> Map:
        """Means of blocks of `stride` voxels."""
        self._node("AveragePool", [x.name], name, kernel_shape=stride, strides=stride)
        return Map(name, x.channels, _sides(n // s for n, s in zip(x.sides, stride)))

    def mean(self, x: Map, name: str) -> str:
        """The mean of each channel, [batch, channels]."""
        self._node("GlobalAveragePool", [x.name], f"{name}.mean")
        self._node("Flatten", [f"{name}.mean"], name, axis=1)
        return name

    def linear(self, source: str, path: str, inputs: int, outputs: int) -> str:
        weight = self._parameter(f"{path}.weight", (outputs, inputs))
        bias = self._parameter(f"{path}.bias", (outputs,))
        self._node("Gemm", [source, weight, bias], path, transB=1)
        return path

    def relu_of(self, source: str) -> str:
        """ReLU of what is no map any more."""
        self._node("Relu", [source], f"{source}.relu")
        return f"{source}.relu"

    def _node(self, kind: str, inputs: Sequence[str], output: str, **attributes: object) -> None:
        self._nodes.append(helper.make_node(kind, list(inputs), [output], name=output, **attributes))

    def _parameter(self, name: str, shape: Sequence[int], stored: Sequence[int] | None = None) -> str:
        """A tensor of the checkpoint, laid down in the shape `stored`."""
        values = self._state.take(name, shape)
        if values is not None:
            self._constant(name, values if stored is None else values.reshape(stored))
        return name

    def _constant(self, name: str, values: np.ndarray) -> str:
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(values, name)
        return name


def _sides(values: Iterable[int]) -> Sides:
    a, b, c = values
    return a, b, c
