"""Imports the official SPINEPS weights: nnU-Net folder, instance U-Net, labelling DenseNet -> ONNX with cards.

Run from `models/train`: python -m import_spineps RELEASE_FOLDER --out FOLDER

Read the modules in this order: `release` (what lies in a release folder), `pickled` and `checkpoint` (tensors out of a
torch file without running it), `state` (every tensor is used, every parameter filled), `graph` (ONNX node by node), the
three nets `nnunet`, `instance` and `labelling`, `card` (what the result is), `__main__`.

Needs numpy and onnx, not torch: the same input gives the same bytes with every version of torch, and nothing of a
checkpoint is ever imported or called.
"""

VERSION = "1"
"""Goes up when the same checkpoint would give another ONNX or another card."""


class Refused(Exception):
    """The input cannot be imported. One sentence that says what was expected where, and whose move it is."""
