"""Reads what `cargo run --release -p models --bin cutouts` streams: pairs of what the net sees and what it should say.

A shard is such a stream, compressed with gzip: `cutouts FIRST_SEED 8 4 | gzip -1 > 00001.gz`.
"""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from unet import GROUPS, SLICES

SHARDS_AT_ONCE = 6
"""Cutouts of so many shards are shuffled together: about 2000, 600 MB."""


def read_shard(path: Path) -> np.ndarray:
    """All cutouts of a shard, `[n, 2, slices, rows, columns]`: groups and answers."""
    with gzip.open(path) as stream:
        header = json.loads(stream.readline())
        slices, rows, columns = header["shape"]
        if (slices, header["groups"]) != (SLICES, GROUPS):
            raise ValueError(f"{path}: {slices} slices and {header['groups']} groups, not {SLICES} and {GROUPS}")
        values = np.frombuffer(stream.read(), np.uint8)
    return values.reshape(-1, 2, slices, rows, columns)


def batches(folder: Path, size: int, random: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches of groups and answers from the shards in `folder`; shards that come later are used, too."""
    while True:
        paths = sorted(folder.glob("*.gz"))
        if not paths:
            raise FileNotFoundError(f"no shard *.gz in {folder}")
        chosen = random.choice(len(paths), min(SHARDS_AT_ONCE, len(paths)), replace=False)
        cuts = np.concatenate([read_shard(paths[n]) for n in chosen])
        order = random.permutation(len(cuts))
        for first in range(0, len(cuts) - size + 1, size):
            yield flipped(torch.from_numpy(cuts[order[first : first + size]]), random)


def flipped(cuts: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Half of the cutouts with left and right exchanged: no group knows its side."""
    turn = torch.from_numpy(random.random(len(cuts)) < 0.5)
    cuts[turn] = cuts[turn].flip(2)
    return cuts[:, 0], cuts[:, 1].long()
