"""Collects every value of DICOM files that could name a patient, a person, a place or a series.

Usage: collect_phi.py DIR
Prints the values of all elements of VR AS, DA, LO, LT, PN, SH, ST, TM, UI and UT below DIR, one a line, private
elements and sequences included. Left out, because they name nobody: values shorter than four characters, plain numbers
of fewer than six digits, UIDs of the standard, and the words of a defined vocabulary. Needs pydicom.
"""

import pathlib
import sys

import pydicom

KINDS = {"AS", "DA", "LO", "LT", "PN", "SH", "ST", "TM", "UI", "UT"}
LEAST = 4
LEAST_DIGITS = 6
STANDARD_UIDS = "1.2.840.10008."
# Labels of segments in the reference outputs and the name of our phantom: our own messages and page say them, too.
VOCABULARY = {"cord", "disc", "Sagitta"}


def pieces(element):
    """The values of an element, and the parts of person names."""
    values = element.value if isinstance(element.value, (list, pydicom.multival.MultiValue)) else [element.value]
    for value in values:
        text = str(value).strip("\0 ")
        yield text
        if element.VR == "PN":
            yield from text.replace("=", "^").split("^")


def wanted(text):
    if len(text) < LEAST or "\n" in text or "\r" in text:
        return False
    number = text.replace(".", "", 1).replace("-", "", 1)
    if number.isdigit() and len(number) < LEAST_DIGITS:
        return False
    return not text.startswith(STANDARD_UIDS) and text not in VOCABULARY


def main():
    found = set()
    for path in sorted(pathlib.Path(sys.argv[1]).rglob("*")):
        if not path.is_file():
            continue
        try:
            data = pydicom.dcmread(path, stop_before_pixels=True, force=True)
            elements = [e for e in data.iterall() if e.VR in KINDS] + list(data.file_meta)
        except (OSError, ValueError, AttributeError, NotImplementedError):
            continue
        for element in elements:
            if element.VR in KINDS:
                found.update(text for text in pieces(element) if wanted(text))
    print("\n".join(sorted(found)))


if __name__ == "__main__":
    main()
