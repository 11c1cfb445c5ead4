"""A restricted unpickler: the data of a torch checkpoint without its code.

A pickle may name any function of the machine and have it called. Here a name is looked up in a table of our own
functions and never imported, so a file can build descriptions of tensors, numbers and containers, and nothing else. A
name outside the table is an error that says the name.

Objects of option classes (Lightning's hyper-parameters) become `Options`: the fields without the class.
"""

import pickle
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from . import Refused

BFLOAT16 = "bfloat16"
"""numpy has no such type; `checkpoint` widens it."""

STORAGE_TYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": BFLOAT16,
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "|i1",
    "ByteStorage": "|u1",
    "BoolStorage": "|b1",
}


class Storage(NamedTuple):
    """A block of numbers, named but not read yet. Like `Tensor` a tuple, since a pickle can change what is none."""

    element: str
    key: str
    count: int


class Tensor(NamedTuple):
    """A view into a storage, in elements; `checkpoint` checks it against the storage when it reads it."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Options:
    """The fields of an object whose class is not wanted here."""

    fields: dict[str, Any]

    def __new__(cls, *_arguments: Any) -> "Options":
        # In here, since pickle makes objects without `__init__`.
        made = super().__new__(cls)
        made.fields = {}
        return made

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise pickle.UnpicklingError("an options object without a dictionary of fields")
        self.fields = dict(state)


class _Table(dict):
    """Stands for `OrderedDict`, without the attributes that torch hangs on it and a file could hide methods with."""

    def __setstate__(self, _attributes: Any) -> None:
        pass


class _NumpyType:
    """Stands for `numpy.dtype`: only plain numbers, only their name and byte order."""

    def __init__(self, name: str, *_flags: Any) -> None:
        if name not in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"):
            raise pickle.UnpicklingError(f"a numpy array of type {name!r}, which is no plain number")
        self.name = name

    def __setstate__(self, state: tuple) -> None:
        if state[1] not in ("<", "|"):
            raise pickle.UnpicklingError(f"numpy numbers in byte order {state[1]!r}, not little-endian")

    def read(self, data: bytes) -> np.ndarray:
        return np.frombuffer(data, "<" + self.name)


class _NumpyArray:
    """Stands for `numpy.ndarray` while a pickle fills it; logs and seeds hold such arrays, weights never do."""

    def __init__(self, *_prototype: Any) -> None:
        self.values = np.zeros(0)

    def __setstate__(self, state: tuple) -> None:
        _version, shape, kind, fortran, data = state
        self.values = kind.read(data).reshape(shape, order="F" if fortran else "C")


def _numpy_scalar(kind: _NumpyType, data: bytes) -> int | float | bool:
    (value,) = kind.read(data).tolist()
    return value


def _encode(text: str, encoding: str) -> bytes:
    """How pickle's protocol 2 writes bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes written as {encoding!r}, not latin1")
    return text.encode("latin1")


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_gradient: Any) -> Tensor:
    numbers = [offset, *shape, *strides]
    if not isinstance(storage, Storage) or not all(type(n) is int and n >= 0 for n in numbers):
        raise pickle.UnpicklingError("a tensor whose storage, offset, shape or strides are none")
    if len(shape) != len(strides):
        raise pickle.UnpicklingError(f"a tensor with shape {shape} and strides {strides}")
    return Tensor(storage, offset, tuple(shape), tuple(strides))


def _empty_bytes() -> bytes:
    """The one use of `bytes` in protocol 2; with a number it would allocate that many."""
    return b""


def _unused(*_parts: Any) -> None:
    """Stands for paths and devices: nobody reads them, but their pickle must be passed."""


_ALLOWED: dict[str, Any] = {
    "collections.OrderedDict": _Table,
    "builtins.set": set,
    "builtins.bytes": _empty_bytes,
    "_codecs.encode": _encode,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch.Size": tuple,
    "torch.device": _unused,
    "pathlib.PosixPath": _unused,
    "pathlib.WindowsPath": _unused,
    "numpy.dtype": _NumpyType,
    "numpy.ndarray": _NumpyArray,
    "argparse.Namespace": Options,
}
for _core in ("numpy.core.multiarray", "numpy._core.multiarray"):
    _ALLOWED[f"{_core}.scalar"] = _numpy_scalar
    _ALLOWED[f"{_core}._reconstruct"] = _NumpyArray
for _name, _element in STORAGE_TYPES.items():
    _ALLOWED[f"torch.{_name}"] = _element

_OPTION_PACKAGE = "spineps."
"""Its own loader needs nothing else to be installed, so the classes of its hyper-parameters are in here; which, is
known only to the archives."""


class RestrictedUnpickler(pickle._Unpickler):
    """`file` names the checkpoint in errors; `storages` collects what the object refers to, by key.

    The unpickler in Python, not the one in C: that keeps its memo in an array, and one wrong index in a file would fill
    the memory.
    """

    def __init__(self, data: BinaryIO, file: str) -> None:
        super().__init__(data)
        self._file = file
        self.storages: dict[str, Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        # Protocol 2, which torch writes, keeps the names of Python 2.
        whole = f"{'builtins' if module == '__builtin__' else module}.{name}"
        if whole in _ALLOWED:
            return _ALLOWED[whole]
        if module.startswith(_OPTION_PACKAGE):
            return Options
        raise Refused(
            f"{self._file} wants {whole}, which no SPINEPS checkpoint needs: nothing was run. Get the file again from "
            "the SPINEPS release; if it is the original, report this name to us"
        )

    def persistent_load(self, reference: Any) -> Storage:
        kind, element, key, _device, count = reference[:5]
        if kind != "storage" or element not in STORAGE_TYPES.values() or type(count) is not int or count < 0:
            raise pickle.UnpicklingError(f"a reference to {kind!r}, not to a storage")
        return self.storages.setdefault(str(key), Storage(element, str(key), count))


def load(data: BinaryIO, file: str) -> tuple[Any, dict[str, Storage]]:
    """The next object of `data` (containers, numbers, text, `Tensor`, `Options`) and the storages it refers to."""
    unpickler = RestrictedUnpickler(data, file)
    try:
        return unpickler.load(), unpickler.storages
    except Refused:
        raise
    except Exception as error:  # a broken pickle can raise anything
        raise Refused(
            f"{file} is not a checkpoint that torch wrote ({error}): get it again from the SPINEPS release"
        ) from error
