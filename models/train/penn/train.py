"""Trains the patch net on drawn patients, and writes weights and table.

    cd models/train && python -m penn.train --out RUN [--patients 300 16 32] [--patches 60000] [--pretrain 10] [--epochs 20]

RUN gets `penn.onnx` (float16), `unregularised.onnx` (the same net without decay and sparsity) and `table.json`; and
`patches.pt`, `NAME.pretrained.pt`, `NAME.pt`, from which the same command goes on after it was stopped.
The patients of training, validation and test are different ones; reconstruction and threshold are chosen on validation, once.
Training patients have many large lesions, the others the usual ones. With `--unet-steps` the 2.5-D net is trained for the
same table.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch

from penn import export, patches, preprocess, regions, ssae, unet
from penn.gd import Exam, exams
from penn.judge import Judgement
from penn.lesions import HEAVY
from penn.metrics import Confusion

# First patients of training, validation and test, far from those of the semantic and instance nets.
SEEDS = (30_000_000, 31_000_000, 32_000_000)
TRAIN_STRIDE = 4
RATES = {"pretrain": 1e-3, "fine-tune": 1e-3}
# The larger output decides in the paper. The sampler shows 40 % of tumour where there is a thousandth, so the net says it too
# often: what threshold gives that back is looked for on validation.
PAPERS_THRESHOLD = 0.5
THRESHOLDS = (PAPERS_THRESHOLD, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)
# Most tumour patches of one exam: neighbours are all but the same.
MOST_OF_EXAM = 200


def patches_of(exam: Exam, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """All patches of an exam's padded slices as a view of planes, and whether each is one of tumour."""
    planes = np.stack([patches.padded(plane) for plane in preprocess.prepare(exam.image)])
    classes = np.stack([patches.label(patches.padded(plane), stride) for plane in exam.classes])
    return planes, classes == patches.TUMOUR


def drawn(exam: Exam, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Some patches (n, 1024) of an exam and whether each is tumour: of the others as many in every exam."""
    planes, tumour = patches_of(exam, TRAIN_STRIDE)
    kinds = (np.flatnonzero(tumour), np.flatnonzero(~tumour))
    most = (MOST_OF_EXAM, int(MOST_OF_EXAM * patches.OTHERS_PER_TUMOUR))
    chosen = np.concatenate([rng.choice(k, min(m, len(k)), replace=False) for k, m in zip(kinds, most, strict=True)])
    k, y, x = np.unravel_index(chosen, tumour.shape)
    views = np.lib.stride_tricks.sliding_window_view(planes, (patches.SIDE, patches.SIDE), (1, 2))
    return views[k, y * TRAIN_STRIDE, x * TRAIN_STRIDE].reshape(len(chosen), -1), tumour.ravel()[chosen]


def training_set(cohort: Iterable[Exam], most: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """At most `most` patches (n, 1024) in the sampler's shares, and whether each is tumour."""
    rng = np.random.default_rng(seed)
    x, tumour = (np.concatenate(parts) for parts in zip(*(drawn(exam, rng) for exam in cohort), strict=True))
    chosen = patches.balance(tumour, seed)
    chosen = np.sort(rng.choice(chosen, min(most, len(chosen)), replace=False))
    return torch.from_numpy(x[chosen]), torch.from_numpy(tumour[chosen])


def kept(path: Path, make: Callable[[], object]) -> object:
    """What an earlier run left in `path`, else what is made now, left for a later one."""
    if not path.exists():
        made, part = make(), path.with_name(path.name + ".part")
        torch.save(made, part)
        part.replace(path)
    return torch.load(path)


def fitted(
    name: str, x: torch.Tensor, tumour: torch.Tensor, rule: ssae.Regularisation, options: argparse.Namespace
) -> ssae.Penn:
    """The net with weights as the file will have them."""
    net = ssae.Penn()

    def pretrained() -> dict[str, torch.Tensor]:
        torch.manual_seed(options.seed)
        ssae.pretrain(net, x, options.pretrain, rule, np.random.default_rng(options.seed), RATES["pretrain"])
        return net.state_dict()

    def tuned() -> dict[str, torch.Tensor]:
        torch.manual_seed(options.seed)
        rng = np.random.default_rng(options.seed)
        losses = ssae.fine_tune(net, x, tumour, options.epochs, rng, RATES["fine-tune"])
        print(f"fine-tuned: loss {losses[0]:.4f} -> {losses[-1]:.4f}", flush=True)
        return net.state_dict()

    net.load_state_dict(kept(options.out / f"{name}.pretrained.pt", pretrained))
    net.load_state_dict(kept(options.out / f"{name}.pt", tuned))
    return export.rounded(net.eval())


def scores(net: ssae.Penn, exam: Exam, stride: int) -> np.ndarray:
    """(slices, rows of patches, columns of patches)."""
    planes = preprocess.prepare(exam.image)
    views = [patches.windows(patches.padded(plane), stride) for plane in planes]
    rows, columns = views[0].shape[:2]
    return np.stack([net.scores(view.reshape(rows * columns, -1)).reshape(rows, columns) for view in views])


def rebuilt(given: np.ndarray, way: str, exam: Exam, stride: int) -> np.ndarray:
    """The score of every pixel."""
    return np.stack([patches.RECONSTRUCTIONS[way](plane, exam.image.shape[1:], stride) for plane in given])


def chosen(net: ssae.Penn, cohort: Iterable[Exam]) -> dict[tuple[str, float], float]:
    """Pooled Dice of each reconstruction and threshold, near the spine."""
    counts = {rule: Confusion(0, 0, 0, 0) for rule in itertools.product(patches.RECONSTRUCTIONS, THRESHOLDS)}
    for exam in cohort:
        given, near = scores(net, exam, TRAIN_STRIDE), regions.near(exam.spine, exam.pixel_mm)
        probability = {way: rebuilt(given, way, exam, TRAIN_STRIDE) for way in patches.RECONSTRUCTIONS}
        for way, threshold in counts:
            said = (probability[way] > threshold) & near
            counts[way, threshold] += Confusion.of(said, exam.classes == patches.TUMOUR)
    return {rule: count.scores()["Dice"] for rule, count in counts.items()}


def judge(
    net: ssae.Penn, cohort: Iterable[Exam], stride: int, way: str, thresholds: Iterable[float]
) -> dict[float, Judgement]:
    told = {threshold: Judgement() for threshold in thresholds}
    for exam in cohort:
        given = scores(net, exam, stride)
        wanted = [patches.label(patches.padded(plane), stride) == patches.TUMOUR for plane in exam.classes]
        probability = rebuilt(given, way, exam, stride)
        for threshold, judgement in told.items():
            counts = [Confusion.of(a > threshold, b) for a, b in zip(given, wanted, strict=True)]
            judgement.take(exam, regions.cleaned(probability, exam.spine, exam.pixel_mm, threshold), counts)
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--patients", type=int, nargs=3, default=(300, 16, 32), help="training, validation, test")
    parser.add_argument("--patches", type=int, default=60_000, help="most that are learnt from")
    parser.add_argument("--pretrain", type=int, default=10, help="epochs of each encoder")
    parser.add_argument("--epochs", type=int, default=20, help="of fine-tuning")
    parser.add_argument("--unet-steps", type=int, default=0)
    parser.add_argument("--stride", type=int, default=4, help="of the test")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    # Of products with 64 rows a second thread makes more waiting than speed.
    torch.set_num_threads(1)
    table = options.out / "table.json"
    begun, told = time.monotonic(), json.loads(table.read_text()) if table.exists() else {}
    train, validation, test = options.patients

    def say(text: str) -> None:
        print(f"{(time.monotonic() - begun) / 60:.1f} min: {text}", flush=True)
        table.write_text(json.dumps(told, indent=1) + "\n")

    def gathered() -> tuple[torch.Tensor, torch.Tensor]:
        return training_set(exams(SEEDS[0], train, HEAVY), options.patches, options.seed)

    x, tumour = kept(options.out / "patches.pt", gathered)
    told["patches"] = {"tumour": int(tumour.sum()), "other": int((~tumour).sum())}
    say(f"{told['patches']}")
    for name, rule in (("penn", ssae.Regularisation()), ("unregularised", ssae.NONE)):
        if name in told:
            continue
        net = fitted(name, x, tumour, rule, options)
        say(f"{name}: trained")
        dice = chosen(net, exams(SEEDS[1], validation))
        way, threshold = max(dice, key=dice.get)
        digest = export.write(net, options.out / f"{name}.onnx", way, threshold)
        told[name] = {"sha256": digest, "reconstruction": way, "threshold": threshold}
        told[name]["validation Dice"] = {f"{way} {threshold:g}": value for (way, threshold), value in dice.items()}
        judged = judge(net, exams(SEEDS[2], test), options.stride, way, sorted({PAPERS_THRESHOLD, threshold}))
        told[name] |= {f"above {threshold:g}": judgement.table() for threshold, judgement in judged.items()}
        say(f"{name}: {way} above {threshold:g}")
    if options.unet_steps and "u-net" not in told:
        net, judgement = unet.train(list(exams(SEEDS[0], train, HEAVY)), options.unet_steps, options.seed), Judgement()
        for exam in exams(SEEDS[2], test):
            judgement.take(exam, regions.cleaned(unet.probability(net, exam), exam.spine, exam.pixel_mm), [])
        told["u-net"] = judgement.table()
        say(f"u-net: test Dice {told['u-net']['pixel micro']['Dice']}")


if __name__ == "__main__":
    main()
