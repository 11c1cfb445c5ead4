"""The tensors of one network by name: each is used once or set aside with a reason, each parameter is found.

Faults are collected and told together at the end, because one wrong number in a plan misfits many tensors at once.
"""

from collections.abc import Callable, Iterable

import numpy as np

from . import Refused
from .checkpoint import Checkpoint
from .pickled import Tensor

FLOATS = (np.float16, np.float32)
"""Weights are stored in one of these (bfloat16 arrives as float32)."""
MAX_TOLD = 12
"""Faults that an error lists before it only counts: more say nothing new."""


class State:
    """`tensors` by name without the network's own prefix; `prefix` only completes the names in errors."""

    def __init__(self, checkpoint: Checkpoint, tensors: dict[str, Tensor], prefix: str = "") -> None:
        self._checkpoint = checkpoint
        self._left = dict(tensors)
        self._taken: dict[str, np.ndarray | None] = {}
        self._faults: list[str] = []
        self._prefix = prefix
        self.set_aside: dict[str, list[str]] = {}
        """What inference does not need: names by reason."""

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a tensor that was not taken yet; empty when there is none."""
        return self._left[name].shape if name in self._left else ()

    def take(self, name: str, shape: Iterable[int]) -> np.ndarray | None:
        """The parameter `name` as float32; none, and a fault for the end, when it is not there in this shape."""
        self._taken[name] = self._read(name, tuple(shape))
        return self._taken[name]

    def _read(self, name: str, shape: tuple[int, ...]) -> np.ndarray | None:
        tensor = self._left.pop(name, None)
        whole = self._prefix + name
        if tensor is None:
            self._faults.append(f"{whole} is missing, shape {list(shape)} needed")
            return None
        if tensor.shape != shape:
            self._faults.append(f"{whole} has shape {list(tensor.shape)}, {list(shape)} needed")
            return None
        values = self._checkpoint.array(tensor)
        if values.dtype not in FLOATS:
            self._faults.append(f"{whole} holds {values.dtype}, float32 or float16 needed")
            return None
        if not np.isfinite(values).all():
            self._faults.append(f"{whole} holds numbers that are not finite")
        return values.astype(np.float32)

    def leave(self, name: str, shape: Iterable[int], reason: str) -> None:
        """Sets `name` aside when it is there; in another shape it is a fault, since the net is not what we think."""
        tensor = self._left.pop(name, None)
        if tensor is None:
            return
        if tensor.shape != tuple(shape):
            self._faults.append(f"{self._prefix}{name} has shape {list(tensor.shape)}, {list(shape)} needed ({reason})")
        self.set_aside.setdefault(reason, []).append(self._prefix + name)

    def copies(self, original: Callable[[str], str]) -> None:
        """Passes the left tensors that repeat, under another name, one that was taken; a copy must be equal."""
        for name in list(self._left):
            if original(name) not in self._taken:
                continue
            tensor, taken = self._left.pop(name), self._taken[original(name)]
            if taken is None:
                continue  # its fault is noted already
            if tensor.shape != taken.shape or not np.array_equal(self._checkpoint.array(tensor), taken):
                self._faults.append(
                    f"{self._prefix}{name} {list(tensor.shape)} differs from {self._prefix}{original(name)} "
                    f"{list(taken.shape)}, of which it should be a copy"
                )

    @property
    def parameters(self) -> int:
        """Numbers that the network uses."""
        return sum(values.size for values in self._taken.values() if values is not None)

    def finish(self, net: str) -> None:
        """Refuses the network when anything is missing, misshapen or left over."""
        for name, tensor in self._left.items():
            self._faults.append(f"{self._prefix}{name} {list(tensor.shape)} has no place in the network")
        if not self._faults:
            return
        told = "\n  ".join(self._faults[:MAX_TOLD])
        more = len(self._faults) - MAX_TOLD
        raise Refused(
            f"{self._checkpoint.file} does not fit {net}:\n  {told}\n"
            + (f"  and {more} more\n" if more > 0 else "")
            + "Either the file is of another release folder, or SPINEPS changed its networks: then we must learn it"
        )


def tensors_of(checkpoint: Checkpoint, value: object, where: str) -> dict[str, Tensor]:
    """`value` as a table of tensors; `where` says what was looked for."""
    if not isinstance(value, dict) or not value:
        raise Refused(f"{checkpoint.file} has no {where}: give the checkpoint of the release")
    wrong = [name for name, tensor in value.items() if not isinstance(name, str) or not isinstance(tensor, Tensor)]
    if wrong:
        raise Refused(f"{checkpoint.file} has {wrong[0]!r} in {where}, which is no tensor: we must learn this form")
    return dict(value)
