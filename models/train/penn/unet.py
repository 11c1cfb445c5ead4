"""The 2.5-D lesion net of our family, judged in the same table: it labels pixels, so no rule hides small lesions.

Five neighbouring slices of twice the patch net's pixels, normalised by themselves as for the semantic net.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from net import UNet
from paint import CONTEXT, normalise_slab
from torch import Tensor

from penn.gd import Exam
from penn.patches import TUMOUR

WIDTHS = (16, 32, 48, 64, 96)
BATCH = 8
# Two of three slices of a batch show a tumour: few of all do.
TUMOUR_SHARE = 2 / 3
RATE = 3e-3


def stack(exam: Exam) -> Tensor:
    """The slices of twice the pixel size with CONTEXT empty ones on each side."""
    pooled = F.avg_pool2d(torch.from_numpy(exam.image)[None], 2)[0]
    return F.pad(pooled, (0, 0, 0, 0, CONTEXT, CONTEXT))


def answers(exam: Exam) -> Tensor:
    """Pixels of which half and more is tumour."""
    return (F.avg_pool2d(torch.from_numpy((exam.classes == TUMOUR).astype(np.float32))[None], 2)[0] >= 0.5).long()


def loss_of(logits: Tensor, wanted: Tensor) -> Tensor:
    """Cross-entropy and Dice of the tumour."""
    given = logits.softmax(1)[:, 1]
    dice = (2 * (given * wanted).sum() + 1) / (given.sum() + wanted.sum() + 1)
    return F.cross_entropy(logits, wanted) + 1 - dice


def train(exams: list[Exam], steps: int, seed: int) -> UNet:
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    stacks, wanted = [stack(exam) for exam in exams], [answers(exam) for exam in exams]
    places = [(n, k, bool(part.any())) for n, parts in enumerate(wanted) for k, part in enumerate(parts)]
    with_tumour, without = ([(n, k) for n, k, has in places if has == kind] for kind in (True, False))
    net = UNet(2 * CONTEXT + 1, WIDTHS, 2).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(net.parameters(), RATE, weight_decay=1e-4)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = RATE * min((step + 1) / 50, 0.5 + 0.5 * np.cos(np.pi * step / steps))
        drawn = [
            kind[rng.integers(len(kind))]
            for kind in (with_tumour if rng.random() < TUMOUR_SHARE else without for _ in range(BATCH))
        ]
        slabs = [normalise_slab(stacks[n][k : k + 2 * CONTEXT + 1]) for n, k in drawn]
        slabs = [slab * float(np.exp(rng.normal() * 0.15)) + float(rng.normal() * 0.2) for slab in slabs]
        loss = loss_of(net(torch.stack(slabs)), torch.stack([wanted[n][k] for n, k in drawn]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if (step + 1) % 50 == 0:
            print(f"u-net step {step + 1} loss {float(loss.detach()):.3f}", flush=True)
    return net.eval()


@torch.no_grad()
def probability(net: UNet, exam: Exam) -> np.ndarray:
    """Of tumour, on the exam's own pixels."""
    slices = stack(exam)
    slabs = torch.stack([normalise_slab(slices[k : k + 2 * CONTEXT + 1]) for k in range(len(exam.image))])
    given = net(slabs).softmax(1)[:, 1:]
    size = exam.image.shape[1:]
    return F.interpolate(given, size=size, mode="bilinear", align_corners=False)[:, 0].numpy()
