"""Trains the instance net on cutouts of corrupted synthetic masks.

    python train.py --cuts DIR --held-out DIR --out instance.onnx [--start FILE] [--minutes 30] [--device cpu]

The rate falls with the time that is used up, so that a training ends well whatever the machine. The result is the
running mean of the weights as float16 ONNX (2 MB), which the service runs and from which `--start` goes on.
"""

import argparse
import copy
import sys
import time
from pathlib import Path

import export
import numpy as np
import torch
from cuts import NO_LEVEL, batches, level_index, read_shard
from torch import Tensor, nn
from unet import CLASSES, InstanceNet, by_class, encode, level_logits

sys.path.append(str(Path(__file__).resolve().parents[1]))
import weights  # noqa: E402  the folder above holds what both trainings share
from precision import autocast  # noqa: E402

ANY = 255
"""The answer at voxels that do not matter."""
MEAN_DECAY = 0.995
"""Of the running mean of the weights: over about 200 steps."""
LEVEL_SHARE = 0.1
"""Weight of the levels in the loss: they must not cost the vertebrae."""
WARM_UP = 0.03
"""Share of the time in which the rate rises."""


def loss_of(logits: Tensor, answers: Tensor, levels: Tensor) -> Tensor:
    """Cross-entropy and Dice over the voxels that matter (one in twenty, so only they are computed), and of the levels."""
    matters = answers != ANY
    scores = by_class(logits).movedim(1, -1)[matters].float()
    answers = answers[matters]
    entropy = nn.functional.cross_entropy(scores, answers)
    wanted, given = nn.functional.one_hot(answers, CLASSES).float(), scores.softmax(1)
    dice = (2 * (given * wanted).sum(0) + 1) / (given.sum(0) + wanted.sum(0) + 1)
    named = (levels != NO_LEVEL).sum().clamp(min=1)
    level = nn.functional.cross_entropy(level_logits(logits).float(), levels, ignore_index=NO_LEVEL, reduction="sum")
    return entropy + 1 - dice.mean() + LEVEL_SHARE * level / named


@torch.no_grad()
def score(net: InstanceNet, folder: Path, device: str, size: int = 16) -> list[float]:
    """Share of voxels that are right, Dice of above, centre and below, and share of levels that are right, over all
    held-out cutouts."""
    right = total = levels_right = levels = 0
    both, sizes = torch.zeros(CLASSES), torch.zeros(CLASSES)
    for path in sorted(folder.glob("*.gz")):
        cuts = [torch.from_numpy(part.copy()).split(size) for part in read_shard(path)]
        for groups, answers, ids in zip(*cuts, strict=True):
            logits = net(encode(groups.to(device))).cpu()
            said, answers, wanted_levels = by_class(logits).argmax(1), answers.long(), level_index(ids)
            levels_right += int((level_logits(logits).argmax(1) == wanted_levels).sum())
            levels += int((wanted_levels != NO_LEVEL).sum())
            matters = answers != ANY
            right += int((said == answers)[matters].sum())
            total += int(matters.sum())
            for n in range(CLASSES):
                given, wanted = (said == n) & matters, answers == n
                both[n] += (given & wanted).sum()
                sizes[n] += given.sum() + wanted.sum()
    return [right / total, *(2 * both / sizes)[1:].tolist(), levels_right / levels]


def rate_at(share: float, highest: float) -> float:
    """The learning rate when `share` of the time is over: up, then down along a cosine."""
    return highest * min(share / WARM_UP, 0.5 + 0.5 * float(np.cos(np.pi * min(share, 1.0))))


def update_mean(mean: InstanceNet, net: InstanceNet, step: int) -> None:
    """Moves the running mean of the weights; early steps weigh more."""
    keep = min(MEAN_DECAY, (1 + step) / (10 + step))
    with torch.no_grad():
        for kept, new in zip(mean.state_dict().values(), net.state_dict().values(), strict=True):
            if kept.dtype.is_floating_point:
                kept.lerp_(new, 1 - keep)
            else:
                kept.copy_(new)


def train(arguments: argparse.Namespace) -> None:
    """Until the time is over."""
    device, random = arguments.device, np.random.default_rng(arguments.seed)
    torch.manual_seed(arguments.seed)
    net = InstanceNet()
    stream = batches(arguments.cuts, arguments.batch, random)
    if arguments.start:
        weights.read(net, arguments.start)
        # Folded weights need a batch to find the statistics of their normalisation again.
        weights.unfold(net, encode(next(stream)[0]))
    net = net.to(device, memory_format=torch.channels_last)
    mean = copy.deepcopy(net).eval()
    optimiser = torch.optim.AdamW(net.parameters(), lr=arguments.rate, weight_decay=1e-2)
    begin = told = time.monotonic()
    losses: list[float] = []
    for step, (groups, answers, levels) in enumerate(stream):
        share = (time.monotonic() - begin) / (60 * arguments.minutes)
        if share >= 1:
            break
        for group in optimiser.param_groups:
            group["lr"] = rate_at(max(share, 1e-3), arguments.rate)
        with autocast(device):
            logits = net(encode(groups.to(device)).contiguous(memory_format=torch.channels_last))
        loss = loss_of(logits, answers.to(device), levels.to(device))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        update_mean(mean, net, step)
        losses.append(loss.item())
        if time.monotonic() - told > 60 * arguments.tell_minutes:
            told = time.monotonic()
            export.write(mean, arguments.out)
            report(step, share, losses, score(mean, arguments.held_out, device))
            losses = []
    digest = export.write(mean, arguments.out)
    print(f"SHA-256 for the card: {digest}")
    report(step, 1.0, losses, score(mean, arguments.held_out, device))


def report(step: int, share: float, losses: list[float], scores: list[float]) -> None:
    """One line about how it goes."""
    loss = sum(losses) / max(len(losses), 1)
    names = ("right", "above", "centre", "below", "level")
    told = "  ".join(f"{name} {value:.4f}" for name, value in zip(names, scores, strict=True))
    print(f"step {step}  {100 * share:.0f} %  loss {loss:.4f}  held out: {told}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Trains the instance net.")
    parser.add_argument("--cuts", type=Path, required=True, help="folder of shards to train on")
    parser.add_argument("--held-out", type=Path, required=True, help="folder of shards to score on")
    parser.add_argument("--out", type=Path, required=True, help="where the weights go")
    parser.add_argument("--start", type=Path, help="weights to go on from")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--tell-minutes", type=float, default=3, help="minutes between lines and checkpoints")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
