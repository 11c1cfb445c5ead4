"""The card beside an imported net: what it is, where it came from, how to run it. TOML, like ours.

`name`, `version`, `weights_sha256`, `classes` and `about` mean what they mean in `models/src/card.rs`. The rest is not
in there: these nets take 3-D tiles or cutouts, which no engine of this version runs, so the program refuses the card.
"""

import json
from typing import Any

from . import VERSION

CITE = "doi:10.1007/s00330-024-11155-y"
LICENCE = (
    "SPINEPS' weights, not part of Sagitta. Its code is Apache-2.0; for the weights read the terms of the release they "
    "came from, before use and before passing this file on"
)
STATUS = "imported, not for diagnostic use; waits for the engines tensorrt and onnxruntime"
HEADER = "# Model card, written by import_spineps: make it again rather than edit it.\n\n"


def about(origin: str) -> dict[str, Any]:
    return {
        "status": STATUS,
        "origin": origin,
        "licence": LICENCE,
        "cite": CITE,
        "importer": f"import_spineps {VERSION}",
    }


def toml(card: dict[str, Any]) -> str:
    """`card` as TOML: numbers, text, lists and tables, in the order given."""
    lines: list[str] = []
    _table(lines, card, "")
    return HEADER + "\n".join(lines).strip() + "\n"


def _table(lines: list[str], table: dict[str, Any], path: str) -> None:
    """First the values, then the tables, as TOML wants it."""
    tables = []
    for key, value in table.items():
        rows = isinstance(value, list) and value and all(isinstance(row, dict) for row in value)
        if rows or isinstance(value, dict):
            tables.append((f"{path}.{key}".lstrip("."), value))
        else:
            # JSON's text, numbers, booleans and lists are TOML's, but for one character.
            text = json.dumps(value, ensure_ascii=False, allow_nan=False).replace("\x7f", "\\u007f")
            lines.append(f"{key} = {text}")
    for name, value in tables:
        for row in value if isinstance(value, list) else [value]:
            lines.extend(["", f"[[{name}]]" if isinstance(value, list) else f"[{name}]"])
            _table(lines, row, name)
