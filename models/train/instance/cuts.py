"""Reads what `cargo run --release -p models --bin cutouts` streams: what the net sees and what it should say.

A shard is such a stream, compressed with gzip: `cutouts FIRST_SEED 8 4 | gzip -1 > 00001.gz`.
"""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from torch import Tensor
from unet import GROUPS, LEVELS, SLICES

NO_LEVEL = -100
"""What `cross_entropy` passes over."""
SHARDS_AT_ONCE = 6
"""Cutouts of so many shards are shuffled together: about 2000, 600 MB."""


class Cuts(NamedTuple):
    """Cutouts: groups and answers `[n, slices, rows, columns]`, SPINEPS id of the vertebra in the centre `[n]`."""

    groups: np.ndarray
    answers: np.ndarray
    levels: np.ndarray


def read_shard(path: Path) -> Cuts:
    """All cutouts of a shard."""
    with gzip.open(path) as stream:
        return read(stream, str(path))


def read(stream: BinaryIO, name: str) -> Cuts:
    """All cutouts of a stream, which has this name in errors."""
    header = json.loads(stream.readline())
    slices, rows, columns = header["shape"]
    if (slices, header["groups"]) != (SLICES, GROUPS):
        raise ValueError(f"{name}: {slices} slices and {header['groups']} groups, not {SLICES} and {GROUPS}")
    values = np.frombuffer(stream.read(), np.uint8)
    cutouts = values.reshape(-1, 2 * slices * rows * columns + 1)
    pairs = cutouts[:, :-1].reshape(-1, 2, slices, rows, columns)
    return Cuts(pairs[:, 0], pairs[:, 1], cutouts[:, -1])


def batches(folder: Path, size: int, random: np.random.Generator) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Endless batches of groups, answers and levels from the shards in `folder`; shards that come later are used, too."""
    while True:
        paths = sorted(folder.glob("*.gz"))
        if not paths:
            raise FileNotFoundError(f"no shard *.gz in {folder}")
        chosen = random.choice(len(paths), min(SHARDS_AT_ONCE, len(paths)), replace=False)
        cuts = Cuts(*map(np.concatenate, zip(*(read_shard(paths[n]) for n in chosen), strict=True)))
        order = random.permutation(len(cuts.levels))
        for first in range(0, len(order) - size + 1, size):
            yield flipped(Cuts(*(part[order[first : first + size]] for part in cuts)), random)


def flipped(cuts: Cuts, random: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Half of the cutouts with left and right exchanged: no group knows its side."""
    groups, answers, levels = (torch.from_numpy(part) for part in cuts)
    turn = torch.from_numpy(random.random(len(levels)) < 0.5)
    for part in (groups, answers):
        part[turn] = part[turn].flip(1)
    return groups, answers.long(), level_index(levels)


def level_index(ids: Tensor) -> Tensor:
    """Places in LEVELS; NO_LEVEL where there is no vertebra in the centre."""
    table = torch.full((256,), NO_LEVEL)
    table[list(LEVELS)] = torch.arange(len(LEVELS))
    return table[ids.long()]
