"""Makes the int8 form of a net: calibrates on drawn patients, chooses layer by layer, says what it costs.

    python quantise.py semantic|instance --out FOLDER

FOLDER gets `NAME.int8.onnx` and `NAME.int8.txt`, the table that is printed. Scales come from patients drawn by the generator
with seeds from CALIBRATION on; what a layer costs in whole numbers is measured on others, from HELD_OUT on, each layer alone.
All layers that read a map are taken at first; then, as long as the whole costs more than MOST_DIFFERS or MOST_LOST, the one
that costs most goes back to floats. No image of a patient is read.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import qdq
import torch
from anatomy import GENERATOR, WORKSPACE, stream
from paint import CLASS_COUNT, Canvas, Painter

# The folder of the instance net has modules of its own.
sys.path.append(str(Path(__file__).with_name("instance")))
import cuts  # noqa: E402
import unet  # noqa: E402

# First seeds; training took those below a million.
CALIBRATION, HELD_OUT = 9_000_001, 9_100_001
# Most that the classes may differ between floats and whole numbers (1 - mean Dice of the two), and most mean Dice that may be
# lost against the truth. The first sees what cancels out in the second: voxels of borders that go one way and the other.
MOST_DIFFERS, MOST_LOST = 0.01, 0.0005
# Patients of each set, slices painted of each, and their rows and columns: a lumbar field.
PAINTED, SLAB, FIELD = 20, 4, (320, 256)
# Patients cut, in so many corrupted masks and one of the semantic net; cutouts a batch.
CUT, VARIANTS, BATCH = 6, 1, 8
# The answer at voxels of a cutout that do not matter.
ANY = 255
# Metadata of a form: the weights it was made from.
FLOAT_SHA256 = "float_sha256"


@dataclass(frozen=True)
class Net:
    """What must be known of a net to judge it: its logits are `[n, classes * slices, rows, columns]`, and further ones."""

    classes: int
    slices: int
    draw: Callable[[int], Iterator[tuple[np.ndarray, np.ndarray]]]
    """Batches of inputs and answers `[n, slices, rows, columns]` from a first seed."""

    def said(self, logits: np.ndarray) -> np.ndarray:
        """The classes, `[n, slices, rows, columns]`."""
        n, _, rows, columns = logits.shape
        own = logits[:, : self.classes * self.slices]
        return own.reshape(n, self.classes, self.slices, rows, columns).argmax(1)


def painted(first: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Slices for the semantic net, a batch a patient."""
    device = torch.device("cpu")
    for anatomy in stream(first, PAINTED):
        images, truth = Painter(anatomy.seed, device).slab(Canvas(anatomy, device), SLAB, FIELD)
        yield images.numpy(), truth.numpy()[:, None]


def cut(first: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Cutouts for the instance net."""
    command = [str(GENERATOR.with_name("cutouts")), str(first), str(CUT), str(VARIANTS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        drawn = cuts.read(process.stdout, "the generator's stream")
    for at in range(0, len(drawn.levels), BATCH):
        groups = torch.from_numpy(drawn.groups[at : at + BATCH].copy())
        yield unet.encode(groups).numpy(), drawn.answers[at : at + BATCH]


NETS = {
    "semantic": Net(CLASS_COUNT, 1, painted),
    "instance": Net(unet.CLASSES, unet.SLICES, cut),
}


@dataclass(frozen=True)
class Cost:
    """What a form differs from the floats, and loses against the truth; both in mean Dice of all classes but the first."""

    differs: float
    lost: float

    def bearable(self) -> bool:
        return self.differs <= MOST_DIFFERS and self.lost <= MOST_LOST


class Session:
    """A net that runs in ONNX Runtime, node by node: what it makes of Q/DQ by itself rounds otherwise than the nodes say."""

    def __init__(self, model: onnx.ModelProto) -> None:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        weights, providers = model.SerializeToString(), ["CPUExecutionProvider"]
        self.session = onnxruntime.InferenceSession(weights, options, providers=providers)
        self.input = model.graph.input[0].name

    def run(self, inputs: np.ndarray, names: list[str]) -> list[np.ndarray]:
        return self.session.run(names, {self.input: inputs})


def observe(model: onnx.ModelProto, batches: list[np.ndarray]) -> dict[str, qdq.Seen]:
    """What every map holds over `batches`; they are run twice, for the largest values first."""
    maps = [layer.makes for layer in qdq.layers(model) if layer.makes]
    session, most = Session(qdq.watched(model, maps)), dict.fromkeys(maps, 0.0)
    for inputs in batches:
        for name, values in zip(maps, session.run(inputs, maps), strict=True):
            most[name] = max(most[name], float(values.max()))
    counts = {name: np.zeros(qdq.BINS) for name in maps}
    for inputs in batches:
        for name, values in zip(maps, session.run(inputs, maps), strict=True):
            counts[name] += np.histogram(values[values > 0], qdq.BINS, (0, max(most[name], 1e-6)))[0]
    return {name: qdq.Seen(counts[name], most[name]) for name in maps}


def mean_dice(confusion: np.ndarray) -> float:
    """Of all classes but the first that occur, by counts `[class of one, class of the other]`."""
    sizes = confusion.sum(0) + confusion.sum(1)
    return float((2 * np.diag(confusion)[1:] / sizes[1:])[sizes[1:] > 0].mean())


class Judge:
    """Held-out patients, and what the net says of them in floats."""

    def __init__(self, net: Net, model: onnx.ModelProto, held_out: list[tuple[np.ndarray, np.ndarray]]) -> None:
        self.net, self.held_out = net, held_out
        self.floats = self.said(model)
        self.dice = mean_dice(self.confusion(self.floats, self.truth()))

    def truth(self) -> list[np.ndarray]:
        return [answers for _, answers in self.held_out]

    def said(self, model: onnx.ModelProto) -> list[np.ndarray]:
        session = Session(model)
        return [self.net.said(*session.run(inputs, ["logits"])) for inputs, _ in self.held_out]

    def confusion(self, one: list[np.ndarray], other: list[np.ndarray]) -> np.ndarray:
        """Counted where the truth says that a voxel matters."""
        classes, counts = self.net.classes, 0
        for a, b, answers in zip(one, other, self.truth(), strict=True):
            pairs = (a.astype(int) * classes + b)[answers != ANY]
            counts = counts + np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
        return counts

    def cost(self, form: onnx.ModelProto) -> Cost:
        said = self.said(form)
        lost = self.dice - mean_dice(self.confusion(said, self.truth()))
        return Cost(1 - mean_dice(self.confusion(said, self.floats)), lost)


def choose(
    model: onnx.ModelProto, seen: dict[str, qdq.Seen], judge: Judge, tell: Callable[[str], None]
) -> onnx.ModelProto:
    """The form with as many layers in whole numbers as the bounds allow."""

    def row(what: str, form: onnx.ModelProto) -> Cost:
        cost = judge.cost(form)
        tell(f"{what:24} {cost.differs:8.5f} {cost.lost:+9.5f}")
        return cost

    tell(f"{'in whole numbers':24} {'differs':>8} {'lost':>9}   of Dice {judge.dice:.4f} in floats")
    row("none, maps in float16", qdq.in_float16(model))
    names = [layer.name for layer in qdq.layers(model) if layer.reads]
    alone = {name: row(name, qdq.form(model, {name}, seen)).differs for name in names}
    whole, label = list(names), "all that read a map"
    while whole:
        form = qdq.form(model, whole, seen)
        if row(label, form).bearable():
            return form
        worst = max(whole, key=alone.get)
        whole.remove(worst)
        label = f"without {worst}"
    raise ValueError("no layer can be in whole numbers within the bounds: look at the table")


def quantise(name: str, source: Path, out: Path) -> str:
    """Writes form and table to the folder `out`; the SHA-256 of the form."""
    out.mkdir(parents=True, exist_ok=True)
    net, weights = NETS[name], source.read_bytes()
    model, lines = onnx.load_from_string(weights), []

    def tell(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    seen = observe(model, [inputs for inputs, _ in net.draw(CALIBRATION)])
    form = choose(model, seen, Judge(net, model, list(net.draw(HELD_OUT))), tell)
    said = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(form, said | {FLOAT_SHA256: hashlib.sha256(weights).hexdigest()})
    data = form.SerializeToString(deterministic=True)
    (out / f"{name}.int8.onnx").write_bytes(data)
    (out / f"{name}.int8.txt").write_text("\n".join(lines) + "\n")
    return hashlib.sha256(data).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("net", choices=NETS)
    parser.add_argument("--source", type=Path, help="float16 weights; default: the shipped ones")
    parser.add_argument("--out", type=Path, required=True, help="folder of the form")
    arguments = parser.parse_args()
    source = arguments.source or WORKSPACE / "models" / "weights" / f"{arguments.net}.onnx"
    print(f"SHA-256 for the card: {quantise(arguments.net, source, arguments.out)}")


if __name__ == "__main__":
    main()
