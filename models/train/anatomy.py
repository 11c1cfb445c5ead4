"""Reads anatomies from the generator (`models/phantom`, binary `anatomy`): what is where, without an image.

An anatomy is drawn on thin slices; `thin_slices` of them, weighted by `thin_weights`, make one slice of the exam,
and the middle one holds its truth. Axes are (thin slice, row, column): to the patient's right, inferior, posterior.
"""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

# Beside this folder: the generator is part of the same workspace.
WORKSPACE = Path(__file__).resolve().parents[2]
GENERATOR = WORKSPACE / "target" / "release" / "anatomy"

# Anatomies (about 20 MB each) that wait for a painter, so that neither waits for the other.
AHEAD = 2


@dataclass(frozen=True)
class Anatomy:
    """One procedural patient; the arrays are uint8 of shape (thin slices, rows, columns)."""

    seed: int
    region: str
    tissues: list[str]
    thin_slices: int
    thin_weights: list[float]
    in_plane_mm: float
    slice_mm: float
    tissue: np.ndarray
    part: np.ndarray
    structure: np.ndarray
    vertebra: np.ndarray

    @property
    def slices(self) -> int:
        return self.tissue.shape[0] // self.thin_slices

    def truth(self, labels: np.ndarray) -> np.ndarray:
        """The slices' own planes of `labels` (one of the arrays): (slices, rows, columns)."""
        return labels[self.thin_slices // 2 :: self.thin_slices]


def stream(first_seed: int, count: int, step: int = 1, generator: Path = GENERATOR) -> Iterator[Anatomy]:
    """Anatomies of seeds `first_seed`, `first_seed + step`, ... from one generator process, which works ahead."""
    if not generator.exists():
        raise FileNotFoundError(f"{generator} is not built: run `cargo build --release -p phantom` first")
    ahead: queue.Queue[Anatomy | Exception] = queue.Queue(AHEAD)
    command = [str(generator), str(first_seed), str(count), str(step)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        threading.Thread(target=_read_all, args=(process.stdout, count, ahead), daemon=True).start()
        try:
            for _ in range(count):
                made = ahead.get()
                if isinstance(made, Exception):
                    raise made
                yield made
        finally:
            process.terminate()


def _read_all(pipe: BinaryIO, count: int, ahead: queue.Queue[Anatomy | Exception]) -> None:
    try:
        for _ in range(count):
            ahead.put(_read(pipe))
    except Exception as error:  # raised again by the reader
        ahead.put(error)


def _read(pipe: BinaryIO) -> Anatomy:
    line = pipe.readline()
    if not line:
        raise EOFError("the generator ended before it had written all anatomies: run it by hand to see why")
    header = json.loads(line)
    shape = tuple(header.pop("shape"))
    arrays = [np.frombuffer(pipe.read(int(np.prod(shape))), np.uint8).reshape(shape) for _ in range(4)]
    return Anatomy(**header, tissue=arrays[0], part=arrays[1], structure=arrays[2], vertebra=arrays[3])
