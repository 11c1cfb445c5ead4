"""Logits of an ONNX file by ONNX Runtime, the oracle of tests/oracle.rs.

Usage: onnxruntime_logits.py MODEL.onnx IN.f32 N CHANNELS ROWS COLUMNS OUT.f32
Tensors are raw little-endian float32, columns fastest. Needs numpy and onnxruntime.
"""

import sys

import numpy as np
import onnxruntime


def main() -> None:
    model, source, *shape, target = sys.argv[1:]
    values = np.fromfile(source, "<f4").reshape([int(n) for n in shape])
    # Without fusions, so that the oracle stays as plain as it can be; the weights' Cast nodes run as they stand.
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {session.get_inputs()[0].name: values})
    logits.astype("<f4").tofile(target)
    print("shape", *logits.shape)


if __name__ == "__main__":
    main()
