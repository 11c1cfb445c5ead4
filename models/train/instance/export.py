"""The instance net as float16 ONNX, which says what it was trained for (classes and grid of its card)."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from unet import InstanceNet

TRAIN = Path(__file__).resolve().parents[1]
sys.path.append(str(TRAIN))
from weights import Graph, folded  # noqa: E402  the folder above holds what both trainings share

CARD = TRAIN.parent / "weights" / "instance.toml"


def described(card: dict) -> dict[str, str]:
    """What the service reads out of the card, in its words (models/src/weights.rs, `Shape::described`)."""
    cut = card["cutout"]
    groups = [",".join(str(value) for value in group["structures"]) for group in card["groups"]]
    mm, slice_mm = f"{cut['in_plane_mm']:g}", f"{cut['slice_mm']:g}"
    grid = (
        f"{cut['columns']} x {cut['rows']} x {cut['slices']} of {mm} x {mm} x {slice_mm} mm, "
        f"centre behind {cut['columns_before']} columns"
    )
    return {"classes": ";".join(groups), "grid": grid, "levels": ",".join(str(level) for level in card["levels"])}


def write(net: InstanceNet, path: Path) -> str:
    """Writes the net, its operators in the order in which they run, and returns the SHA-256 of the file."""
    graph, skips = Graph(), []
    x = graph.add("Relu", [graph.conv("stem", "cutout", *folded(net.stem))], "stem")
    for depth, block in enumerate(net.down):
        if depth:
            x = graph.pool(f"pool.{depth}", x)
        x = graph.block(f"down.{depth}", x, block)
        skips.append(x)
    for depth in reversed(range(len(net.up))):
        x = graph.join(f"up.{depth}", x, skips[depth])
        x = graph.block(f"up.{depth}", x, net.up[depth])
    graph.head(x, net.head)
    channels = {"cutout": net.stem.conv.in_channels, "logits": net.head.out_channels}
    return graph.save(path, channels, described(tomllib.loads(CARD.read_text())))
