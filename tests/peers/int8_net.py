"""An int8 form of a shipped net in which `float` rounds nothing, so that every engine must get the same steps.

Usage: int8_net.py NET.onnx ROWS COLUMNS IN.f32 OUT.onnx

Q/DQ as models/train/qdq.py writes it, but with powers of two for scales, biases that are whole multiples of what a sum of 1
stands for, and a coarse first layer: products and sums are then exact in any order, and a value that lies between two steps
lies there for everybody. Writes the input that it calibrated on, one slice, to IN.f32.
"""

import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

COARSE = np.float32(2.0**-8)
"""The first layer's weights, and the input by a sixteenth of it, are multiples of this: products fit `float` with room."""


def layers(model):
    """Every convolution with its weights, its bias and the map behind its ReLU."""
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    wide = {node.output[0]: stored[node.input[0]].astype("f4") for node in model.graph.node if node.op_type == "Cast"}
    behind = {node.input[0]: node.output[0] for node in model.graph.node if node.op_type == "Relu"}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    return [(node, wide[node.input[1]], wide[node.input[2]], behind.get(node.output[0])) for node in convolutions]


def origins(model, maps):
    """The maps that every value holds the numbers of, and the sets that a Concat joins."""
    held, joined = {name: {name} for name in maps}, []
    for node in model.graph.node:
        if node.op_type in ("MaxPool", "Resize", "Concat"):
            sources = node.input if node.op_type == "Concat" else node.input[:1]
            held[node.output[0]] = set().union(*(held[name] for name in sources))
            joined += [held[node.output[0]]] if node.op_type == "Concat" else []
    return held, joined


def power(values):
    return np.exp2(np.ceil(np.log2(values))).astype("f4")


def map_scales(model, maps, values):
    """A power of two for each map, one for maps that are joined."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in maps)
    session = onnxruntime.InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])
    seen = session.run(maps, {model.graph.input[0].name: values})
    scales = {name: power(found.max() / 127) for name, found in zip(maps, seen, strict=True)}
    held, joined = origins(model, maps)
    for _ in maps:
        for together in joined:
            scales |= dict.fromkeys(together, max(scales[name] for name in together))
    return scales, held


def main() -> None:
    source, rows, columns, values_path, target = sys.argv[1:]
    model = onnx.load(source)
    graph, found = model.graph, layers(model)
    channels = graph.input[0].type.tensor_type.shape.dim[1].dim_value
    noise = np.random.default_rng(1).integers(-32, 33, (1, channels, int(rows), int(columns)))
    values = (noise / 16).astype("f4")
    values.tofile(values_path)
    scales, held = map_scales(model, [behind for *_, behind in found if behind], values)
    made = [numpy_helper.from_array(np.int8(0), "zero")]
    made += [numpy_helper.from_array(scale, f"{name}.scale") for name, scale in scales.items()]
    nodes, replaced = [], set()
    for number, (node, weight, bias, behind) in enumerate(found[:-1]):
        name, offset = node.input[1:]
        replaced |= {name, offset}
        if number == 0:
            unit = np.float32(COARSE / 16)
            made.append(numpy_helper.from_array(np.round(weight / COARSE) * COARSE, name))
        else:
            scale = power(np.maximum(np.abs(weight).reshape(len(weight), -1).max(1), 1e-6) / 127)
            steps = np.round(weight / scale[:, None, None, None]).astype(np.int8)
            unit = scale * scales[next(iter(held[node.input[0]]))]
            made += [numpy_helper.from_array(steps, f"{name}.int8"), numpy_helper.from_array(scale, f"{name}.scale")]
            made.append(numpy_helper.from_array(np.zeros(len(scale), np.int8), f"{name}.zero"))
            inputs = [f"{name}.{part}" for part in ("int8", "scale", "zero")]
            nodes.append(helper.make_node("DequantizeLinear", inputs, [name], f"dequantise/{name}", axis=0))
        made.append(numpy_helper.from_array((np.round(bias / unit) * unit).astype("f4"), offset))
    for node in graph.node:
        if node.op_type == "Cast" and node.output[0] in replaced:
            continue
        nodes.append(node)
        if node.op_type == "Relu":
            name = node.output[0]
            node.output[0] = f"{name}.float"
            last = [f"{name}.scale", "zero"]
            nodes.append(helper.make_node("QuantizeLinear", [f"{name}.float", *last], [f"{name}.int8"], f"quantise/{name}"))
            nodes.append(helper.make_node("DequantizeLinear", [f"{name}.int8", *last], [name], f"dequantise/{name}"))
    kept = [tensor for tensor in graph.initializer if tensor.name.removesuffix(".f16") not in replaced]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept + made)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, target)


if __name__ == "__main__":
    main()
