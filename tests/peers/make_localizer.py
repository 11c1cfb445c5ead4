"""Turns a sagittal series into a localiser: its Image Type says so, and an axial and a coronal slice join it.

    make_localizer.py SERIES OUT
"""

import sys
from pathlib import Path

import pydicom
from pydicom.uid import generate_uid

PLANES = {"axial": [1, 0, 0, 0, 1, 0], "coronal": [1, 0, 0, 0, 0, -1]}


def main() -> None:
    series, out = map(Path, sys.argv[1:])
    out.mkdir(parents=True)
    slices = [pydicom.dcmread(path) for path in sorted(series.iterdir())]
    for orientation in PLANES.values():
        other = pydicom.dcmread(next(series.iterdir()))
        other.ImageOrientationPatient = orientation
        other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        slices.append(other)
    for number, data in enumerate(slices, 1):
        data.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        data.InstanceNumber = number
        data.save_as(out / f"{number}.dcm")


if __name__ == "__main__":
    main()
