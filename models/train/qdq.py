"""Int8 forms: a float16 net with QuantizeLinear and DequantizeLinear around what is computed in whole numbers.

The arrangement is the one that our engines read (ARCHITECTURE.md, "Int8") and that TensorRT and ONNX Runtime know: zero
points 0, a scale for each map (the result of a ReLU), one scale for maps that a layer reads joined, a scale for each output
of a layer's weights. A layer in whole numbers reads maps on steps only; a layer in floats reads whatever is there. Scales
are float16 values, as biases are: the float16 form of the file (models/src/onnx/float16.rs) holds the same numbers.

A map on steps holds 0 to 127: it comes from a ReLU, and ONNX's `int8` ends there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

STEPS = 127
"""The largest step of maps and weights."""
LEAST_SCALE = 2.0**-14
"""The smallest float16 with all its bits: a layer's channel below it is as good as zero."""
BINS = 2048
# Where the best scale is looked for, as shares of the one that cuts nothing off.
SHARES = np.linspace(0.25, 1.0, 76)


@dataclass(frozen=True)
class Layer:
    """A convolution with what is behind and before it."""

    name: str
    weight: np.ndarray
    reads: tuple[str, ...]
    """The maps whose values it reads, in the order of its channels; none: it reads the net's input."""
    makes: str | None
    """The map behind its ReLU; None: the output of the net."""


class Seen(NamedTuple):
    """What calibration saw of a map: counts of its positive values in BINS equal parts of 0 to `most`. Zero is on a step at
    every scale."""

    counts: np.ndarray
    most: float


def layers(model: onnx.ModelProto) -> list[Layer]:
    """All convolutions in the order in which they run, named as the training names their weights."""
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    wide = {node.output[0]: stored[node.input[0]].astype("f4") for node in model.graph.node if node.op_type == "Cast"}
    behind = {node.input[0]: node.output[0] for node in model.graph.node if node.op_type == "Relu"}
    held: dict[str, tuple[str, ...]] = {name: (name,) for name in behind.values()}
    found = []
    for node in model.graph.node:
        if node.op_type in ("MaxPool", "Resize"):
            held[node.output[0]] = held[node.input[0]]
        elif node.op_type == "Concat":
            held[node.output[0]] = sum((held[name] for name in node.input), ())
        elif node.op_type == "Conv":
            source, weight, _ = node.input
            name, makes = weight.removesuffix(".weight"), behind.get(node.output[0])
            found.append(Layer(name, wide[weight], held.get(source, ()), makes))
    return found


def half(values: np.ndarray) -> np.ndarray:
    """Rounded to float16, in float32."""
    return np.asarray(values).astype("f2").astype("f4")


def on_steps(values: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The nearest steps, halves to the even one, as QuantizeLinear and our kernels round."""
    return np.clip(np.rint(values / scale), -STEPS, STEPS)


def noise(seen: Seen, scale: float) -> float:
    """What steps of `scale` add to a map, squares of errors by squares of values."""
    values = (np.arange(BINS) + 0.5) * seen.most / BINS
    errors = on_steps(values, scale) * scale - values
    return float((seen.counts * errors**2).sum() / max((seen.counts * values**2).sum(), 1e-12))


def map_scale(maps: list[Seen]) -> float:
    """The scale with the least noise in `maps` together."""
    most = max(max(seen.most for seen in maps), LEAST_SCALE * STEPS)
    candidates = np.maximum(half(most / STEPS * SHARES), np.float32(LEAST_SCALE))
    return float(min(candidates, key=lambda scale: sum(noise(seen, scale) for seen in maps)))


def map_scales(found: list[Layer], whole: Collection[str], seen: Mapping[str, Seen]) -> dict[str, float]:
    """The scale of every map that a layer of `whole` reads; maps that one of them reads joined have the same."""
    groups: list[set[str]] = []
    for layer in found:
        if layer.name in whole:
            touching = [group for group in groups if group & set(layer.reads)]
            groups = [group for group in groups if group not in touching] + [set(layer.reads).union(*touching)]
    scales: dict[str, float] = {}
    for group in groups:
        scales |= dict.fromkeys(group, map_scale([seen[name] for name in sorted(group)]))
    return scales


def weight_steps(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`int8` weights and the scale of each output with the least squared error."""
    flat = weight.reshape(len(weight), -1)
    exact = np.abs(flat).max(1) / STEPS
    best, scales = np.full(len(flat), np.inf), np.empty(len(flat), "f4")
    for share in SHARES:
        scale = np.maximum(half(exact * share), np.float32(LEAST_SCALE))
        errors = ((on_steps(flat, scale[:, None]) * scale[:, None] - flat) ** 2).sum(1)
        scales, best = np.where(errors < best, scale, scales), np.minimum(errors, best)
    steps = on_steps(flat, scales[:, None]).astype(np.int8)
    return steps.reshape(weight.shape), scales


def form(model: onnx.ModelProto, whole: Collection[str], seen: Mapping[str, Seen]) -> onnx.ModelProto:
    """`model` with the layers of `whole` in whole numbers; all else stays as it is. Raises ValueError where one of them cannot
    be: the net's input, which the first layer reads, has a sign."""
    found = layers(model)
    unfit = set(whole) - {layer.name for layer in found if layer.reads}
    if unfit:
        raise ValueError(f"layers {sorted(unfit)} are not in this net, or read its input, which is never on steps")
    made = copy(model)
    scales = map_scales(found, whole, seen)
    tensors = [numpy_helper.from_array(np.int8(0), "zero")]
    tensors += [numpy_helper.from_array(np.float32(scale), f"{name}.scale") for name, scale in sorted(scales.items())]
    nodes, weights = [], {f"{layer.name}.weight": layer.weight for layer in found if layer.name in whole}
    for node in made.graph.node:
        if node.op_type == "Cast" and node.output[0] in weights:
            name = node.output[0]
            parts = dict(zip((f"{name}.int8", f"{name}.scale"), weight_steps(weights[name]), strict=True))
            parts[f"{name}.zero"] = np.zeros(len(weights[name]), np.int8)
            tensors += [numpy_helper.from_array(values, part) for part, values in parts.items()]
            nodes.append(helper.make_node("DequantizeLinear", list(parts), [name], f"dequantise/{name}", axis=0))
        elif node.op_type == "Relu" and node.output[0] in scales:
            nodes += [node, *on_scale(node)]
        else:
            nodes.append(node)
    tensors += [t for t in made.graph.initializer if t.name.removesuffix(".f16") not in weights]
    del made.graph.node[:], made.graph.initializer[:]
    made.graph.node.extend(nodes)
    made.graph.initializer.extend(tensors)
    onnx.checker.check_model(made, full_check=True)
    return made


def on_scale(relu: onnx.NodeProto) -> list[onnx.NodeProto]:
    """What puts the result of a ReLU on steps, for all that read it."""
    name = relu.output[0]
    relu.output[0] = f"{name}.float"
    last = [f"{name}.scale", "zero"]
    return [
        helper.make_node("QuantizeLinear", [f"{name}.float", *last], [f"{name}.int8"], f"quantise/{name}"),
        helper.make_node("DequantizeLinear", [f"{name}.int8", *last], [name], f"dequantise/{name}"),
    ]


def in_float16(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` with its input and every map rounded to float16, and sums in float32: what an engine of float16 computes."""
    made = copy(model)
    taken, nodes = made.graph.input[0].name, []

    def rounded(name: str, source: str) -> list[onnx.NodeProto]:
        half = helper.make_node("Cast", [source], [f"{name}.half"], f"half/{name}", to=TensorProto.FLOAT16)
        return [half, helper.make_node("Cast", [f"{name}.half"], [name], f"wide/{name}", to=TensorProto.FLOAT)]

    for node in made.graph.node:
        node.input[:] = [f"{taken}.rounded" if name == taken else name for name in node.input]
        nodes.append(node)
        if node.op_type == "Relu":
            name = node.output[0]
            node.output[0] = f"{name}.float"
            nodes += rounded(name, f"{name}.float")
    nodes = rounded(f"{taken}.rounded", taken) + nodes
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    onnx.checker.check_model(made, full_check=True)
    return made


def watched(model: onnx.ModelProto, names: list[str]) -> onnx.ModelProto:
    """`model` with these values as further outputs."""
    made = copy(model)
    made.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    return made


def copy(model: onnx.ModelProto) -> onnx.ModelProto:
    made = onnx.ModelProto()
    made.CopyFrom(model)
    return made
