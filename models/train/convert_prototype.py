"""The first shipped weights: the prototype net with its initialisers stored as float16.

Usage: convert_prototype.py PROTOTYPE.onnx OUT.onnx     (needs onnx and numpy)

Each float32 initialiser becomes a float16 one followed by a Cast to float32, so that the file is still valid ONNX
(operators keep float32 inputs) and every reader computes with exactly the same values: float16 to float32 is exact.
The result depends on the input only; run twice, it writes the same bytes. Prints the SHA-256 for the card.
"""

import hashlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def to_float16(model: onnx.ModelProto) -> float:
    """Rewrites the initialisers in place; returns the largest change of a weight."""
    graph = model.graph
    casts, initializers, largest = [], [], 0.0
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32:
            sys.exit(f"initialiser {tensor.name} is {values.dtype}, not float32")
        half = values.astype(np.float16)
        if not np.isfinite(half).all():
            sys.exit(f"initialiser {tensor.name} does not fit into float16")
        largest = max(largest, float(np.abs(half.astype(np.float32) - values).max()))
        initializers.append(numpy_helper.from_array(half, tensor.name + ".f16"))
        casts.append(
            helper.make_node(
                "Cast", [tensor.name + ".f16"], [tensor.name], "cast/" + tensor.name, to=TensorProto.FLOAT
            )
        )
    nodes = list(graph.node)
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(initializers)
    graph.node.extend(casts + nodes)
    return largest


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    model = onnx.load(sys.argv[1])
    largest = to_float16(model)
    onnx.checker.check_model(model, full_check=True)
    data = model.SerializeToString(deterministic=True)
    with open(sys.argv[2], "wb") as out:
        out.write(data)
    print(f"{len(data)} bytes, largest change of a weight {largest:.2e}")
    print(f"sha256 {hashlib.sha256(data).hexdigest()}")


if __name__ == "__main__":
    main()
