"""The patch net as float16 ONNX in its fully convolutional form: what it makes of every patch of a slice at once.

A row of the first layer's weights is a kernel of 32 x 32, the other layers are convolutions of 1 x 1; the metadata say what the
input must be.
"""

from __future__ import annotations

from pathlib import Path

import torch
from weights import Graph

from penn.patches import SIDE
from penn.preprocess import LIMITS, PIXEL_MM, SIGMA, THRESHOLD_PERCENTILE, THRESHOLD_SHARE
from penn.ssae import Penn


def described(reconstruction: str, threshold: float) -> dict[str, str]:
    """What the service reads out of the card, as keys of its own (models/src/weights/patch.rs)."""
    noise = f"{THRESHOLD_SHARE:g} of percentile {THRESHOLD_PERCENTILE:g}"
    limits = f"percentiles {LIMITS[0]:g} to {LIMITS[1]:g}"
    return {
        "grid": f"{PIXEL_MM:g} mm",
        "preparation": f"threshold {noise}, sigma {SIGMA:g} pixels, {limits}",
        "reconstruction": reconstruction,
        "threshold": f"{threshold:g}",
    }


def write(net: Penn, path: Path, reconstruction: str, threshold: float) -> str:
    """Writes the net and returns the SHA-256 of the file."""
    graph, x = Graph(), "slice"
    for n, layer in enumerate(net.layers()):
        size = SIDE if n == 0 else 1
        weight = layer.weight.reshape(layer.out_features, -1, size, size)
        names = [graph.constant(f"layer.{n}.weight", weight), graph.constant(f"layer.{n}.bias", layer.bias)]
        x = graph.add("Conv", [x, *names], f"layer.{n}.sum", kernel_shape=[size, size])
        x = graph.add("Sigmoid", [x], f"layer.{n}")
    graph.nodes[-1].output[0] = "outputs"
    return graph.save(path, {"slice": 1, "outputs": net.head.out_features}, described(reconstruction, threshold))


def rounded(net: Penn) -> Penn:
    """The same net with weights as the file has them."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(parameter.half().float())
    return net
