"""Reads a torch checkpoint, zip (torch 1.6 and later) or legacy, into plain containers and numpy arrays."""

import io
import struct
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from . import Refused, pickled
from .pickled import BFLOAT16, Storage, Tensor

MAX_FILE_BYTES = 4 << 30
"""The largest U-Net that nnU-Net plans has about 140 M parameters, 1.7 GB with its optimiser's state."""
MAX_MEMBERS = 20_000
"""Members of the zip: one per storage. A U-Net with optimiser has below 1,000, DenseNet-169 about 3,000."""
MAX_PICKLE_BYTES = 64 << 20
"""The object without its numbers: below 1 MB for the nets, some MB with the log of a long training."""

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001


class Checkpoint:
    """`content` is what was saved, with a `Tensor` in the place of each tensor; `array` reads one."""

    def __init__(self, path: Path) -> None:
        self.file = path.name
        self._size = path.stat().st_size
        if self._size > MAX_FILE_BYTES:
            raise Refused(f"{self.file} has {self._size} bytes, more than any SPINEPS checkpoint ({MAX_FILE_BYTES})")
        self._stream = path.open("rb")
        if zipfile.is_zipfile(self._stream):
            self._storages: _Zip | _Legacy = _Zip(self._stream, self.file)
        else:
            self._storages = _Legacy(self._stream, self.file)
        self.content: Any = self._storages.content

    def __enter__(self) -> "Checkpoint":
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stream.close()

    def array(self, tensor: Tensor) -> np.ndarray:
        """The numbers of a tensor, contiguous."""
        storage = tensor.storage
        last = tensor.offset + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.strides))
        if 0 not in tensor.shape and last >= storage.count:
            raise Refused(
                f"{self.file} has a tensor of shape {tensor.shape} that reaches beyond its storage of "
                f"{storage.count} numbers: it is damaged, get it again from the SPINEPS release"
            )
        element = _element(storage)
        if storage.count * element.itemsize > self._size:
            raise Refused(f"{self.file} ends before its tensors: it is damaged, get it again from the SPINEPS release")
        data = self._storages.read(storage, storage.count * element.itemsize)
        values = np.frombuffer(data, element)[tensor.offset :]
        strides = [step * element.itemsize for step in tensor.strides]
        view = np.ascontiguousarray(np.lib.stride_tricks.as_strided(values, tensor.shape, strides))
        if storage.element == BFLOAT16:
            view = (view.astype(np.uint32) << 16).view(np.float32)
        return view.reshape(tensor.shape)


class _Zip:
    """NAME/data.pkl, NAME/data/KEY, NAME/byteorder; all stored, none compressed."""

    def __init__(self, stream: BinaryIO, file: str) -> None:
        self._file = file
        try:
            self._archive = zipfile.ZipFile(stream)
        except zipfile.BadZipFile as error:
            raise Refused(f"{file} is a broken zip ({error}): get it again from the SPINEPS release") from error
        members = {info.filename: info for info in self._archive.infolist()}
        if len(members) > MAX_MEMBERS:
            raise Refused(f"{file} has {len(members)} members, more than any SPINEPS checkpoint ({MAX_MEMBERS})")
        pickles = [name for name in members if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise Refused(
                f"{file} is a zip, but not a torch checkpoint (it has {len(pickles)} NAME/data.pkl): give the .pth or "
                ".ckpt file of the unpacked release, not the release's own archive"
            )
        self._members = members
        self._name = pickles[0].removesuffix("data.pkl")
        size = members[pickles[0]].file_size
        if size > MAX_PICKLE_BYTES:
            raise Refused(f"{file} describes itself in {size} bytes, more than {MAX_PICKLE_BYTES}")
        if self._name + "byteorder" in members and self._member("byteorder") != b"little":
            raise Refused(f"{file} was written on a big-endian machine: save it again on a little-endian one")
        self.content, _ = pickled.load(io.BytesIO(self._member("data.pkl")), file)

    def read(self, storage: Storage, size: int) -> bytes:
        data = self._member(f"data/{storage.key}")
        if len(data) != size:
            raise Refused(f"{self._file} has {len(data)} bytes in data/{storage.key}, {size} expected: it is damaged")
        return data

    def _member(self, name: str) -> bytes:
        info = self._members.get(self._name + name)
        if info is None:
            raise Refused(f"{self._file} lacks its member {name}: it is damaged, get it again from the SPINEPS release")
        # Torch never compresses; refused, because a small member could unpack without end.
        if info.compress_type != zipfile.ZIP_STORED:
            raise Refused(
                f"{self._file} was packed again (its member {name} is compressed): use the file of the release"
            )
        try:
            return self._archive.read(info)
        except (zipfile.BadZipFile, EOFError) as error:
            raise Refused(
                f"{self._file} is damaged at {name} ({error}): get it again from the SPINEPS release"
            ) from error


class _Legacy:
    """Five pickles (magic, protocol, machine, object, keys), then each storage: count as int64, numbers."""

    def __init__(self, stream: BinaryIO, file: str) -> None:
        self._file = file
        self._stream = stream
        stream.seek(0)
        head = [pickled.load(stream, file)[0] for _ in range(3)]
        if head[:2] != [_LEGACY_MAGIC, _LEGACY_PROTOCOL] or not isinstance(head[2], dict):
            raise Refused(f"{file} is no torch checkpoint: give the .pth or .ckpt file of the unpacked release")
        if not head[2].get("little_endian"):
            raise Refused(f"{file} was written on a big-endian machine: save it again on a little-endian one")
        self.content, storages = pickled.load(stream, file)
        keys, _ = pickled.load(stream, file)
        self._places: dict[str, int] = {}
        for key in keys:
            if key not in storages:
                raise Refused(f"{file} has numbers that belong to no tensor: it is damaged")
            self._places[key] = stream.tell()
            stream.seek(8 + storages[key].count * _element(storages[key]).itemsize, io.SEEK_CUR)

    def read(self, storage: Storage, size: int) -> bytes:
        self._stream.seek(self._places.get(storage.key, 0))
        head, data = self._stream.read(8), self._stream.read(size)
        if storage.key not in self._places or head != struct.pack("<q", storage.count) or len(data) != size:
            raise Refused(f"{self._file} ends early or is damaged: get it again from the SPINEPS release")
        return data


def _element(storage: Storage) -> np.dtype:
    return np.dtype("<u2" if storage.element == BFLOAT16 else storage.element)
