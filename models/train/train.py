"""Trains the semantic net on procedural anatomies painted on the fly. No image of a patient is ever read.

    python train.py --out RUN --steps 20000 [--resume NET.onnx] [--tier cpu|wide] [--teacher NET.onnx] [--device cuda]

RUN gets `semantic.onnx` (float16, exponential mean of the weights, ready for the engines) with `state.json` (what
was done so far) every few minutes, and `log.txt`. `--resume` goes on from any such file, the shipped one included;
the state beside it, if there is one, gives the step count and so the place in the learning-rate schedule. Nothing
else is needed to go on. `--teacher` distils another net, of whichever tier its shapes are, into the one trained.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import weights
from anatomy import stream
from net import TIERS, UNet
from paint import CLASS_COUNT, CONTEXT, SAID, Canvas, Painter
from precision import autocast
from torch import Tensor

# A batch is so many slabs (times `--widen`) of SLAB neighbouring slices; mostly small crops, some large ones for wide context.
SLAB = 4
SHAPES = {(160, 128): 2, (256, 160): 1}
LARGE_SHARE = 0.25

# Canvases held by one painter, and slabs painted from each before a new anatomy replaces it.
POOL = 32

# Background is half of most slices; small structures would be drowned.
CLASS_WEIGHTS = [0.5, 2, 2, 2, 2, 2, 1, 2, 1, 1.5, 1, 1]
# A class with fewer pixels in a batch has no Dice worth the name.
LEAST_PIXELS = 20
LABEL_SMOOTHING = 0.01
EMA = 0.998
GRADIENT_LIMIT = 5.0
# After a start the optimiser knows nothing of the gradients' sizes.
WARM_UP_STEPS, WARM_UP_SHARE = 100, 0.1
# Share of the loss that follows the teacher, and the temperature that softens its logits.
TEACHER_SHARE, TEACHER_TEMPERATURE = 0.5, 2.0
LOG_EVERY = 50


@dataclass
class State:
    """What a run has done, kept beside its weights."""

    tier: str
    step: int = 0
    minutes: float = 0.0
    first_seed: int = 0
    anatomies: int = 0


@dataclass(frozen=True)
class Options:
    out: Path
    steps: int
    minutes: float
    rate: float
    tier: str
    resume: Path | None
    teacher: Path | None
    device: str
    seed: int
    painters: int
    widen: int
    reuse: int
    save_minutes: float


def batches(seed: int, device: torch.device, options: Options) -> Iterator[tuple[Tensor, Tensor, int]]:
    """Endless batches (images, classes) from one generator process, and the anatomies used so far."""
    painter = Painter(seed, device)
    anatomies = stream(seed, 1 << 40)
    pool: list[Canvas] = []
    used = painted = next_due = 0
    while True:
        if painted >= next_due:
            pool = [*pool[-POOL + 1 :], Canvas(next(anatomies), device)]
            used += 1
            # The first batches must not wait for a full pool, nor come from one patient.
            next_due = painted + (options.reuse if len(pool) == POOL else 1)
        large = painter.rng.random() < LARGE_SHARE
        size, slabs = list(SHAPES.items())[large]
        slabs *= options.widen
        made = [painter.slab(pool[painter.rng.integers(len(pool))], SLAB, size) for _ in range(slabs)]
        painted += slabs
        yield torch.cat([image for image, _ in made]), torch.cat([truth for _, truth in made]), used


def _paint_forever(queue: multiprocessing.Queue, seed: int, options: Options) -> None:
    torch.set_num_threads(1)
    for images, classes, used in batches(seed, torch.device("cpu"), options):
        queue.put((images.numpy(), classes.numpy().astype(np.uint8), used))


def painted_by_others(options: Options) -> Iterator[tuple[Tensor, Tensor, int]]:
    """Batches from painter processes on the CPU: painting and training overlap."""
    # Spawned, not forked: a forked child would inherit locks of this process's thread pools.
    context = multiprocessing.get_context("spawn")
    queue = context.Queue(8)
    for n in range(options.painters):
        # Seeds of different painters never meet: each has its own range of anatomies.
        seed = options.seed + (n << 40)
        context.Process(target=_paint_forever, args=(queue, seed, options), daemon=True).start()
    while True:
        images, classes, used = queue.get()
        yield torch.from_numpy(images), torch.from_numpy(classes).long(), used * options.painters


def loss_of(logits: Tensor, classes: Tensor, teacher_logits: Tensor | None) -> tuple[Tensor, Tensor]:
    """Cross entropy + soft Dice (+ distillation), and the Dice of each class (nan where absent)."""
    class_weights = torch.tensor(CLASS_WEIGHTS, device=logits.device)
    entropy = F.cross_entropy(logits, classes, weight=class_weights, label_smoothing=LABEL_SMOOTHING)
    probability = logits.softmax(1)
    truth = F.one_hot(classes, CLASS_COUNT).permute(0, 3, 1, 2).float()
    both, either = (probability * truth).sum((0, 2, 3)), (probability + truth).sum((0, 2, 3))
    present = truth.sum((0, 2, 3)) > LEAST_PIXELS
    dice = (2 * both + 1) / (either + 1)
    named = dice[1:][present[1:]]
    loss = entropy + (1 - named.mean() if len(named) else 0.0)
    if teacher_logits is not None:
        t = TEACHER_TEMPERATURE
        soft = F.kl_div(
            (logits / t).log_softmax(1), (teacher_logits / t).log_softmax(1), log_target=True, reduction="none"
        )
        loss = (1 - TEACHER_SHARE) * loss + TEACHER_SHARE * t * t * soft.sum(1).mean()
    return loss, torch.where(present, dice.detach(), torch.nan)


class Mean:
    """Exponential moving mean of a net's weights: what is saved and shipped."""

    def __init__(self, net: UNet) -> None:
        self.values = {name: value.clone().float() for name, value in net.state_dict().items()}

    @torch.no_grad()
    def update(self, net: UNet, steps_here: int) -> None:
        keep = min(EMA, 1 - 1 / (steps_here * 0.5 + 1))
        for name, value in net.state_dict().items():
            self.values[name].lerp_(value.float(), 1 - keep)

    def into(self, net: UNet) -> UNet:
        net.load_state_dict(self.values)
        return net


def rate_at(step: int, steps_here: int, options: Options) -> float:
    """Cosine from `rate` to 2 % of it over the whole run, with a warm-up whenever a process starts."""
    done = min(step / options.steps, 1.0)
    warm = min(1.0, (steps_here + 1) / min(WARM_UP_STEPS, max(1, WARM_UP_SHARE * options.steps)))
    return options.rate * warm * (0.49 * (1 + math.cos(math.pi * done)) + 0.02)


def load_teacher(path: Path, device: torch.device) -> UNet:
    """A frozen net of whichever tier fits the file."""
    for widths in TIERS.values():
        net = UNet(2 * CONTEXT + 1, widths, CLASS_COUNT)
        try:
            weights.read(net, path)
        except ValueError:
            continue
        return net.to(device).eval().requires_grad_(False)
    raise ValueError(f"{path} is of none of the tiers {list(TIERS)}")


def begin(options: Options, device: torch.device) -> tuple[UNet, State]:
    net = UNet(2 * CONTEXT + 1, TIERS[options.tier], CLASS_COUNT)
    state = State(options.tier, first_seed=options.seed)
    if options.resume:
        weights.read(net, options.resume)
        beside = options.resume.with_name("state.json")
        if beside.exists():
            state = State(**json.loads(beside.read_text()))
    return net.to(device, memory_format=torch.channels_last), state


def save(options: Options, mean: Mean, state: State) -> None:
    """Weights and state, each complete or not at all: a kill while saving leaves the last ones."""
    options.out.mkdir(parents=True, exist_ok=True)
    net = mean.into(UNet(2 * CONTEXT + 1, TIERS[options.tier], CLASS_COUNT))
    weights.write(net, options.out / "semantic.onnx", SAID)
    (options.out / "state.json.part").write_text(json.dumps(asdict(state)) + "\n")
    (options.out / "state.json.part").rename(options.out / "state.json")


def train(options: Options) -> State:
    torch.manual_seed(options.seed)
    device = torch.device(options.device)
    net, state = begin(options, device)
    teacher = load_teacher(options.teacher, device) if options.teacher else None
    source = painted_by_others(options) if options.painters else batches(options.seed, device, options)
    if options.resume:
        weights.unfold(net, next(source)[0].to(device))
    mean, steps_here, dices = Mean(net), 0, []
    optimiser = torch.optim.AdamW(net.parameters(), options.rate, weight_decay=1e-4)
    begun, saved, minutes_before = time.monotonic(), time.monotonic(), state.minutes
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / "log.txt").open("a") as log:
        while state.step < options.steps and (time.monotonic() - begun) / 60 < options.minutes:
            images, classes, used = next(source)
            for group in optimiser.param_groups:
                group["lr"] = rate_at(state.step, steps_here, options)
            dices.append(_step(net, teacher, optimiser, images.to(device), classes.to(device)))
            state.step, steps_here = state.step + 1, steps_here + 1
            mean.update(net, steps_here)
            state.minutes = minutes_before + (time.monotonic() - begun) / 60
            state.anatomies = used
            if state.step % LOG_EVERY == 0:
                _report(log, state, dices)
                dices.clear()
            if (time.monotonic() - saved) / 60 > options.save_minutes:
                save(options, mean, state)
                saved = time.monotonic()
    save(options, mean, state)
    return state


def _step(
    net: UNet, teacher: UNet | None, optimiser: torch.optim.Optimizer, images: Tensor, classes: Tensor
) -> tuple[float, np.ndarray]:
    images = images.to(memory_format=torch.channels_last)
    with autocast(images.device.type):
        logits = net(images)
        with torch.no_grad():
            teacher_logits = teacher(images).float() if teacher else None
    loss, dice = loss_of(logits.float(), classes, teacher_logits)
    if not torch.isfinite(loss):
        raise FloatingPointError("the loss is not finite: lower --rate and resume from the last saved weights")
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), GRADIENT_LIMIT)
    optimiser.step()
    return float(loss.detach()), dice.cpu().numpy()


def _report(log: object, state: State, dices: list[tuple[float, np.ndarray]]) -> None:
    table = np.stack([dice for _, dice in dices])
    seen = np.isfinite(table)
    means = np.where(seen, table, 0).sum(0) / np.maximum(seen.sum(0), 1)
    loss = np.mean([loss for loss, _ in dices])
    line = (
        f"step {state.step} minutes {state.minutes:.1f} anatomies {state.anatomies} loss {loss:.4f} "
        f"dice {means[1:].mean():.3f} [{' '.join(f'{value:.2f}' for value in means[1:])}]"
    )
    print(line, flush=True)
    log.write(line + "\n")
    log.flush()


def parse(arguments: list[str] | None = None) -> Options:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--steps", type=int, required=True, help="length of the learning-rate schedule")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop (and save) after this time; resume later")
    parser.add_argument("--rate", type=float, default=2e-3, help="highest learning rate")
    parser.add_argument("--tier", choices=TIERS, default="cpu")
    parser.add_argument("--resume", type=Path, help="weights to go on from (.onnx)")
    parser.add_argument("--teacher", type=Path, help="weights of a net to distil (.onnx)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda")
    parser.add_argument("--seed", type=int, default=1, help="of weights, anatomies and painting")
    parser.add_argument("--painters", type=int, default=1, help="painter processes; 0: paint on the device")
    parser.add_argument("--widen", type=int, default=1, help="times as many slabs a batch")
    parser.add_argument("--reuse", type=int, default=12, help="slabs painted from one anatomy")
    parser.add_argument("--save-minutes", type=float, default=4.0)
    return Options(**vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    print(f"done: {train(parse())}")
