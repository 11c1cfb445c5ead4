"""The labelling network of SPINEPS, VERIDAH (spineps.md, sections 9 and 11): a 3-D DenseNet with one head per question,
from the image around one vertebra to its level.
"""

from .graph import Graph, Map, Sides

BACKBONES = {"DENSENET169": (6, 12, 32, 32), "DENSENET121": (6, 12, 24, 16)}
"""Layers of the four dense blocks."""
STEM = 64
"""Channels of the first convolution."""
GROWTH = 32
"""Channels that each layer adds."""
BOTTLENECK = 4
"""Width inside a layer, in multiples of the growth."""

_C = [f"C{n}" for n in range(1, 8)]
_T = [f"T{n}" for n in range(1, 13)]
_L = [f"L{n}" for n in range(1, 6)]
HEADS = {
    "REGION": ["cervical", "thoracic", "lumbar"],
    "VERT": [*_C, *_T, *_L],
    "VERTEX": [*_C, *_T, "T13", *_L, "L6"],
    "VT13": ["no T13", "T13"],
    "VERTREL": ["none", "last cervical", "first thoracic", "last thoracic", "first lumbar", "last lumbar"],
    "VERTGRP": [
        "C1-C2", "C3-C5", "C6-C7", "T1-T2", "T3-T4", "T5-T7", "T8-T9", "T10-T11", "T12-T13", "L1-L2", "L3-L4", "L5-L6",
    ],
    "FULLYVISIBLE": ["cut off", "fully visible"],
}  # fmt: skip
"""Classes of the heads that are known, in the order of the channels."""

_CUBE3: Sides = (3, 3, 3)
_CUBE7: Sides = (7, 7, 7)
_ONE: Sides = (1, 1, 1)
_TWO: Sides = (2, 2, 2)


def build(graph: Graph, backbone: str, channels: int, sides: Sides, heads: dict[str, int]) -> None:
    """Writes the network; input `image`, one output of logits per head, under the head's name."""
    x = graph.conv(graph.input("image", channels, sides), "net.features.conv0", STEM, _CUBE7, _TWO, bias=False)
    x = graph.relu(graph.batch_norm(x, "net.features.norm0"))
    x = graph.max_pool(x, "net.features.pool0", _CUBE3, _TWO, padding=1)
    blocks = BACKBONES[backbone]
    for index, layers in enumerate(blocks, start=1):
        for layer in range(1, layers + 1):
            x = _layer(graph, x, f"net.features.denseblock{index}.denselayer{layer}")
        if index < len(blocks):
            x = _transition(graph, x, f"net.features.transition{index}")
    x = graph.relu(graph.batch_norm(x, "net.features.norm5"))
    features = graph.mean(x, "features")
    for head, classes in heads.items():
        path = f"classification_heads.{head}"
        inner = graph.linear(features, f"{path}.0", x.channels, x.channels // 2)
        logits = graph.linear(graph.relu_of(inner), f"{path}.2", x.channels // 2, classes)
        graph.output(head, logits, (classes,))


def _layer(graph: Graph, x: Map, path: str) -> Map:
    inner = graph.relu(graph.batch_norm(x, f"{path}.layers.norm1"))
    inner = graph.conv(inner, f"{path}.layers.conv1", BOTTLENECK * GROWTH, _ONE, bias=False)
    inner = graph.relu(graph.batch_norm(inner, f"{path}.layers.norm2"))
    inner = graph.conv(inner, f"{path}.layers.conv2", GROWTH, _CUBE3, bias=False)
    return graph.concat([x, inner], f"{path}.concat")


def _transition(graph: Graph, x: Map, path: str) -> Map:
    x = graph.relu(graph.batch_norm(x, f"{path}.norm"))
    x = graph.conv(x, f"{path}.conv", x.channels // 2, _ONE, bias=False)
    return graph.average_pool(x, f"{path}.pool", _TWO)
