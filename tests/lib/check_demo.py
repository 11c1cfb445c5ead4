"""Checks what `sagitta demo --once --out DIR --json` promises (ARCHITECTURE.md, "Contracts for scripts").

Looks at the files and the shape of the report only; what is in the masks is the end-to-end tests' work.
Usage: check_demo.py DIR REPORT_PRINTED_ON_STDOUT
"""

import json
import pathlib
import sys

import nibabel
import numpy
import pydicom

KEYS = ["series", "stages", "total_ms", "engine", "models", "vertebrae", "outputs"]
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


def one(folder, pattern):
    """The only file of `folder` that matches `pattern`."""
    found = sorted(folder.glob(pattern))
    assert len(found) == 1, f"{len(found)} files match {pattern}"
    return found[0]


def labels(path):
    """The values of a label map, without background."""
    values = numpy.unique(numpy.asarray(nibabel.load(path).dataobj))
    return values[values != 0]


def main():
    folder, printed = map(pathlib.Path, sys.argv[1:])
    report = json.loads(printed.read_text())
    assert report == json.loads((folder / "report.json").read_text()), "stdout differs from report.json"
    absent = [key for key in KEYS if key not in report]
    assert not absent, f"report.json lacks {absent}"
    assert report["stages"], "no stage is timed"
    for mask in ["*_seg-spine_msk.nii.gz", "*_seg-vert_msk.nii.gz"]:
        path = one(folder, mask)
        assert labels(path).size, f"{path.name} is empty"
    seg = pydicom.dcmread(folder / "seg.dcm")
    assert seg.Modality == "SEG", f"seg.dcm is {seg.Modality}"
    assert (folder / "overlay.png").read_bytes().startswith(PNG_MAGIC), "overlay.png is no PNG"
    gone = [kind for kind, path in report["outputs"].items() if not (folder / path).exists()]
    assert not gone, f"report.json names outputs that are not there (paths from its folder): {gone}"
    print(f"report with {len(report['stages'])} stages, masks, SEG and picture are there")


try:
    main()
except (AssertionError, OSError, ValueError) as error:
    sys.exit(f"demo: {error}")
