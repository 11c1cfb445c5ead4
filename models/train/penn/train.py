"""Trains the patch net and what it is compared with on drawn patients, and writes weights and table.

    cd models/train && python -m penn.train --out RUN [--patients 240 40 100] [--pretrain 20] [--epochs 30] [--unet-steps 900]

RUN gets `penn.onnx` (float16), `unregularised.onnx` (the same net, trained with no decay and no sparsity) and `table.json`.
The patients of training, validation and test are different ones; the reconstruction is chosen on validation, once.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from penn import export, patches, preprocess, regions, ssae, unet
from penn.gd import Exam, exams
from penn.judge import Judgement
from penn.metrics import Confusion, micro

# First patients of training, validation and test, far from those of the semantic and instance nets.
SEEDS = (30_000_000, 31_000_000, 32_000_000)
TRAIN_STRIDE = 4
RATES = {"pretrain": 1e-3, "fine-tune": 1e-3}


def patches_of(exam: Exam, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """All patches of an exam's padded slices as a view of planes, and whether each is one of tumour."""
    planes = np.stack([patches.padded(plane) for plane in preprocess.prepare(exam.image)])
    classes = np.stack([patches.label(patches.padded(plane), stride) for plane in exam.classes])
    return planes, classes == patches.TUMOUR


def training_set(cohort: list[Exam], seed: int) -> tuple[torch.Tensor, torch.Tensor, tuple[int, int]]:
    """Balanced patches (n, 1024), whether each is tumour, and how many of each there were before."""
    made = [patches_of(exam, TRAIN_STRIDE) for exam in cohort]
    flat = np.concatenate([tumour.ravel() for _, tumour in made])
    chosen, first, drawn = patches.balance(flat, seed), 0, []
    for planes, tumour in made:
        own = chosen[(chosen >= first) & (chosen < first + tumour.size)] - first
        k, y, x = np.unravel_index(own, tumour.shape)
        views = np.lib.stride_tricks.sliding_window_view(planes, (patches.SIDE, patches.SIDE), (1, 2))
        drawn.append(views[k, y * TRAIN_STRIDE, x * TRAIN_STRIDE].reshape(len(own), -1))
        first += tumour.size
    counts = (int(flat.sum()), int((~flat).sum()))
    return torch.from_numpy(np.concatenate(drawn)), torch.from_numpy(flat[chosen]), counts


def fitted(x: torch.Tensor, tumour: torch.Tensor, rule: ssae.Regularisation, options: argparse.Namespace) -> ssae.Penn:
    torch.manual_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    net = ssae.Penn()
    for n, (before, after) in enumerate(ssae.pretrain(net, x, options.pretrain, rule, rng, RATES["pretrain"])):
        print(f"encoder {n + 1}: cost {before:.3f} -> {after:.3f}", flush=True)
    losses = ssae.fine_tune(net, x, tumour, options.epochs, rng, RATES["fine-tune"])
    print(f"fine-tuned: loss {losses[0]:.4f} -> {losses[-1]:.4f}", flush=True)
    return net.eval()


def scores(net: ssae.Penn, exam: Exam, stride: int) -> np.ndarray:
    """(slices, rows of patches, columns of patches)."""
    planes = preprocess.prepare(exam.image)
    views = [patches.windows(patches.padded(plane), stride) for plane in planes]
    rows, columns = views[0].shape[:2]
    flat = (torch.from_numpy(view.reshape(rows * columns, -1)) for view in views)
    return np.stack([net.scores(patch).numpy().reshape(rows, columns) for patch in flat])


def judge(net: ssae.Penn, cohort: list[Exam], stride: int, ways: list[str]) -> dict[str, Judgement]:
    told = {way: Judgement() for way in ways}
    for exam in cohort:
        given, shape = scores(net, exam, stride), exam.image.shape[1:]
        wanted = [patches.label(patches.padded(plane), stride) == patches.TUMOUR for plane in exam.classes]
        counts = [Confusion.of(a > 0.5, b) for a, b in zip(given, wanted, strict=True)]
        for way in ways:
            rebuild = patches.RECONSTRUCTIONS[way]
            probability = np.stack([rebuild(plane, shape, stride) for plane in given])
            told[way].take(exam, regions.cleaned(probability, exam.spine, exam.pixel_mm), counts)
    return told


def pooled_dice(judgement: Judgement) -> float:
    return micro([image for group in judgement.pixels for image in group])["Dice"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--patients", type=int, nargs=3, default=(240, 40, 100), help="training, validation, test")
    parser.add_argument("--pretrain", type=int, default=20, help="epochs of each encoder")
    parser.add_argument("--epochs", type=int, default=30, help="of fine-tuning")
    parser.add_argument("--unet-steps", type=int, default=900)
    parser.add_argument("--stride", type=int, default=2, help="of the test")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    begun, told = time.monotonic(), {}

    def say(text: str) -> None:
        print(f"{(time.monotonic() - begun) / 60:.1f} min: {text}", flush=True)

    train, validation, test = (exams(first, n) for first, n in zip(SEEDS, options.patients, strict=True))
    x, tumour, counts = training_set(train, options.seed)
    told["patches"] = {"tumour": counts[0], "other": counts[1], "kept": len(x)}
    say(f"{told['patches']}")
    for name, rule in (("penn", ssae.Regularisation()), ("unregularised", ssae.NONE)):
        net = fitted(x, tumour, rule, options)
        chosen = judge(net, validation, TRAIN_STRIDE, list(patches.RECONSTRUCTIONS))
        way = max(chosen, key=lambda way: pooled_dice(chosen[way]))
        digest = export.write(net, options.out / f"{name}.onnx", way)
        told[name] = {"sha256": digest, "reconstruction": way}
        told[name] |= judge(net, test, options.stride, [way])[way].table()
        say(f"{name}: {way}, test Dice {told[name]['pixel micro']['Dice']}")
        (options.out / "table.json").write_text(json.dumps(told, indent=1) + "\n")
    if options.unet_steps:
        net, judgement = unet.train(train, options.unet_steps, options.seed), Judgement()
        for exam in test:
            judgement.take(exam, regions.cleaned(unet.probability(net, exam), exam.spine, exam.pixel_mm), [])
        told["u-net"] = judgement.table()
        say(f"u-net: test Dice {told['u-net']['pixel micro']['Dice']}")
        (options.out / "table.json").write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
