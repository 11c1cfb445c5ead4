"""A picture of what the net is trained on: painted slices, each with its truth beside it.

    python show.py OUT.jpg [--seed 1] [--rows 4] [--columns 6]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from anatomy import stream
from paint import CLASS_COUNT, CONTEXT, Canvas, Painter
from PIL import Image

CROP = (200, 160)
# Colour by class, black for the background; how strongly it covers the image.
COLOURS = np.array(
    [
        (0, 0, 0), (230, 140, 60), (220, 60, 60), (60, 180, 220), (90, 200, 90), (170, 210, 60),
        (210, 200, 160), (250, 250, 250), (70, 90, 220), (200, 60, 200), (240, 150, 200), (130, 90, 50),
    ],
    np.float32,
)  # fmt: skip
OPACITY = 0.45


def tile(painter: Painter, canvas: Canvas) -> np.ndarray:
    """One slice and the same with its truth, side by side: (H, 2 W, 3)."""
    images, classes = painter.slab(canvas, 1, CROP)
    # Mean 0 and deviation 1 by normalisation: -2 becomes black, +3 white.
    grey = ((images[0, CONTEXT].numpy() + 2) / 5).clip(0, 1)[..., None].repeat(3, 2) * 255
    truth = classes[0].numpy()
    coloured = np.where((truth > 0)[..., None], (1 - OPACITY) * grey + OPACITY * COLOURS[truth], grey)
    return np.concatenate([grey, coloured], 1).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--columns", type=int, default=6)
    options = parser.parse_args()
    assert len(COLOURS) == CLASS_COUNT
    painter = Painter(options.seed, torch.device("cpu"))
    patients = stream(options.seed, options.rows * options.columns)
    tiles = [tile(painter, Canvas(patient, torch.device("cpu"))) for patient in patients]
    rows = [np.concatenate(tiles[n :: options.rows], 1) for n in range(options.rows)]
    Image.fromarray(np.concatenate(rows)).save(options.out)


if __name__ == "__main__":
    main()
