"""What lies in an unpacked release folder of SPINEPS: `inference_config.json` and, beside or below it, the weights.

The configuration is the only place that says which structure a class number means; nothing of it is assumed.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import Refused

CONFIG = "inference_config.json"
MAX_JSON_BYTES = 16 << 20
"""plans.json and dataset.json have below 100 kB, or a few MB when dataset.json lists the cases."""
HASH_BLOCK = 1 << 20
MAX_FOLDS = 20
"""nnU-Net trains five."""
MAX_NUMBER = 1e6
"""Of millimetres and of intensities in CT: beyond, a file is damaged."""

AXES = {"P": "A", "A": "P", "I": "S", "S": "I", "R": "L", "L": "R"}
"""Axis letters (towards which side the index grows) and their opposites."""

STRUCTURES = {
    **{f"C{n}": n for n in range(1, 8)},
    **{f"T{n}": n + 7 for n in range(1, 13)},
    **{f"L{n}": n + 19 for n in range(1, 7)},
    "T13": 28,
    "S1": 26,
    "Cocc": 27,
    "Vertebra_Full": 40,
    "Arcus_Vertebrae": 41,
    "Spinosus_Process": 42,
    "Costal_Process_Left": 43,
    "Costal_Process_Right": 44,
    "Superior_Articular_Left": 45,
    "Superior_Articular_Right": 46,
    "Inferior_Articular_Left": 47,
    "Inferior_Articular_Right": 48,
    "Vertebra_Corpus_border": 49,
    "Vertebra_Corpus": 50,
    "Dens_axis": 51,
    "Vertebral_Body_Endplate_Superior": 52,
    "Vertebral_Body_Endplate_Inferior": 53,
    "Spinal_Cord": 60,
    "Spinal_Canal": 61,
    "Endplate": 62,
    "Rib_Left": 63,
    "Rib_Right": 64,
    "Metal": 80,
    "Vertebra_Disc": 100,
}
"""Names that a configuration may use for a label value (TPTBox's, spineps.md section 1)."""


@dataclass(frozen=True)
class Release:
    """`folder` holds the configuration; `name` is that of the folder the site named."""

    name: str
    folder: Path
    config: dict[str, Any]

    @property
    def version(self) -> str:
        """As in the folder's name, `T2w_semantic_v1.0.9`."""
        found = re.search(r"_v(\d+(\.\d+)*)$", self.name)
        return found.group(1) if found else "not in the folder's name"

    def orientation(self) -> list[str]:
        """Axis letters of the image that SPINEPS hands to the net."""
        letters = need(self.config, "model_expected_orientation", list, CONFIG)
        if len(letters) != 3 or len({min(a, AXES[a]) for a in letters if isinstance(a, str) and a in AXES}) != 3:
            raise Refused(f"{CONFIG} has model_expected_orientation {letters}, not three axes like P, I, R")
        return letters

    def spacing_range_mm(self) -> list[list[float]]:
        """Smallest and largest spacing that the image is resampled to, in the order of `orientation`."""
        given = need(self.config, "resolution_range", list, CONFIG)
        ends = [given, given] if len(given) == 3 else given
        if len(ends) != 2 or not all(are_millimetres(end) for end in ends):
            raise Refused(f"{CONFIG} has resolution_range {given}, not one spacing or two of three millimetres each")
        return [[float(n) for n in end] for end in ends]

    def folds(self) -> list[str]:
        """The folds whose logits SPINEPS averages."""
        given = need(self.config, "available_folds", (int, str, list), CONFIG)
        if isinstance(given, int):
            given = range(min(given, MAX_FOLDS + 1))
        names = [given] if isinstance(given, str) else [str(name) for name in given]
        if not 1 <= len(names) <= MAX_FOLDS or not all(name == "all" or _number(name) >= 0 for name in names):
            raise Refused(f"{CONFIG} has available_folds {list(given)}, not 1 to {MAX_FOLDS} folds by number, or all")
        return names

    def structures(self, classes: int) -> dict[int, tuple[str, int]]:
        """Name and label value of each class but the background, which is 0."""
        given = need(self.config, "labels", dict, CONFIG)
        labels = {str(number): value for number, value in given.items() if (str(number), value) != ("0", 0)}
        if sorted(labels, key=_number) != [str(n) for n in range(1, classes)]:
            raise Refused(
                f"{CONFIG} has labels for the classes {', '.join(sorted(labels, key=_number))}, the network has 1 to "
                f"{classes - 1}: the files are of different releases"
            )
        return {int(number): _structure(value) for number, value in labels.items()}


def open_release(folder: Path) -> Release:
    """The release in `folder`, or in the one folder that an archive wraps around it."""
    if not folder.is_dir():
        raise Refused(f"{folder} is no folder: unpack the archive of the SPINEPS release and name its folder")
    found = sorted(folder.rglob(CONFIG))
    if len(found) != 1:
        raise Refused(
            f"{folder} has {len(found)} files {CONFIG}, one is expected: name the folder of one unpacked archive of "
            "the SPINEPS release"
        )
    return Release(folder.resolve().name, found[0].parent, read_json(found[0]))


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; a missing file is the site's, who unpacks the whole archive."""
    if not path.is_file():
        raise Refused(f"{path.parent} has no {path.name}: unpack the whole archive of the SPINEPS release")
    if path.stat().st_size > MAX_JSON_BYTES:
        raise Refused(f"{path.name} has {path.stat().st_size} bytes, more than {MAX_JSON_BYTES}: it is no such file")
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise Refused(f"{path.name} is no JSON ({error}): get it again from the SPINEPS release") from error
    if not isinstance(content, dict):
        raise Refused(f"{path.name} is no JSON object: get it again from the SPINEPS release")
    return content


def need(table: dict[str, Any], key: str, kind: type | tuple[type, ...], where: str) -> Any:
    """`table[key]`, which must be there and of type `kind`."""
    value = table.get(key)
    if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):
        raise Refused(
            f"{where} has {key} = {json.dumps(value, default=repr)}, which is not usable: get it from the release"
        )
    return value


def number(table: dict[str, Any], key: str, where: str) -> float:
    """`table[key]`, which must be a number of a usual size."""
    value = need(table, key, (int, float), where)
    if not abs(value) < MAX_NUMBER:
        raise Refused(f"{where} has {key} = {value}, which is not usable: get it from the release")
    return float(value)


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(HASH_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _structure(value: Any) -> tuple[str, int]:
    if isinstance(value, str) and value in STRUCTURES:
        return value, STRUCTURES[value]
    number = _number(value)
    if number < 0:
        raise Refused(f"{CONFIG} names the structure {value!r}, which we do not know: we must learn it from SPINEPS")
    names = [name for name, known in STRUCTURES.items() if known == number]
    return names[0] if names else f"structure {number}", number


def _number(value: Any) -> int:
    """An integer or its text; -1 for anything else."""
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() else -1


def are_millimetres(spacing: Any) -> bool:
    """Whether it is a spacing: three lengths."""
    return isinstance(spacing, list) and len(spacing) == 3 and all(_is_length(n) for n in spacing)


def _is_length(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value < MAX_NUMBER
