"""The command: python -m import_spineps RELEASE_FOLDER --out FOLDER

Writes NAME.onnx and NAME.toml for each net of an unpacked SPINEPS release (semantic: one per fold). Exit code 0 done,
1 failed, 3 refused.
"""

import argparse
import hashlib
import os
import sys
from pathlib import Path

from . import Refused, card
from .convert import Imported, convert
from .release import open_release

FAILED = 1
REFUSED = 3
"""As in the contracts of ARCHITECTURE.md."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="import_spineps", description=__doc__)
    parser.add_argument("release", type=Path, help="one unpacked archive of the SPINEPS release")
    parser.add_argument("--out", type=Path, required=True, help="folder for NAME.onnx and NAME.toml; made when absent")
    given = parser.parse_args(arguments)
    try:
        given.out.mkdir(parents=True, exist_ok=True)
        for net in convert(open_release(given.release)):
            _write(net, given.out)
    except Refused as error:
        print(f"refused: {error}", file=sys.stderr)
        return REFUSED
    except OSError as error:
        print(f"failed: {error}: check the folders and the free space", file=sys.stderr)
        return FAILED
    return 0


def _write(net: Imported, out: Path) -> None:
    """The weights first: a card never names a file that is not there."""
    data = net.model.SerializeToString(deterministic=True)
    digest = hashlib.sha256(data).hexdigest()
    _replace(out / f"{net.name}.onnx", data)
    table = {"name": net.name, **net.card, "weights_sha256": digest}
    _replace(out / f"{net.name}.toml", card.toml(table).encode())
    print(f"{out / net.name}.onnx: {net.card['source']['parameters']} parameters, {len(data)} bytes, sha256 {digest}")
    for row in net.card["source"]["not_used"]:
        print(f"  not used, {row['reason']}: {len(row['tensors'])} tensors, {row['tensors'][0]} ...")
    for note in net.notes:
        print(f"  note: {note}")


def _replace(path: Path, data: bytes) -> None:
    """All or nothing: a half-written file never has the name."""
    draft = path.with_name(path.name + ".part")
    draft.write_bytes(data)
    os.replace(draft, path)


if __name__ == "__main__":
    sys.exit(main())
