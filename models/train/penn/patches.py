"""Patches: where they lie, what they are called, which are drawn for training, and how their scores become pixels."""

from __future__ import annotations

import numpy as np

# Side of a patch in pixels: 1024 values.
SIDE = 32
# A class has a patch when it has this share of its pixels.
SHARE = 0.60
# What the reading of the paper calls tumour, vertebra and other; the shipped head has two outputs, tumour and the rest.
OTHER, VERTEBRA, TUMOUR = 0, 1, 2
# Shares after the balance sampler: 0.60 other, 0.40 tumour.
OTHERS_PER_TUMOUR = 1.5
# Every pixel gets patches on all its sides.
PADDING = SIDE // 2


def positions(length: int, stride: int) -> int:
    """Patches along an axis of `length` pixels."""
    return (length - SIDE) // stride + 1 if length >= SIDE else 0


def windows(plane: np.ndarray, stride: int) -> np.ndarray:
    """A view of all patches of a slice: (rows of patches, columns of patches, SIDE, SIDE)."""
    return np.lib.stride_tricks.sliding_window_view(plane, (SIDE, SIDE))[::stride, ::stride]


def covers(mask: np.ndarray, stride: int) -> np.ndarray:
    """Pixels of `mask` in every patch of a slice, by sums over rectangles."""
    sums = np.pad(mask.astype(np.int32), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    boxes = sums[SIDE:, SIDE:] - sums[:-SIDE, SIDE:] - sums[SIDE:, :-SIDE] + sums[:-SIDE, :-SIDE]
    return boxes[::stride, ::stride]


def has(cover: np.ndarray) -> np.ndarray:
    """Whether a class has a patch: 615 of 1024 pixels are enough, 614 are not."""
    return cover >= SHARE * SIDE * SIDE


def label(classes: np.ndarray, stride: int) -> np.ndarray:
    """The class of every patch of a slice of OTHER, VERTEBRA and TUMOUR."""
    tumour, vertebra = (has(covers(classes == value, stride)) for value in (TUMOUR, VERTEBRA))
    return np.where(tumour, TUMOUR, np.where(vertebra, VERTEBRA, OTHER)).astype(np.uint8)


def balance(tumour: np.ndarray, seed: int) -> np.ndarray:
    """Indices of all patches with `tumour` and of 1.5 times as many others, drawn once without replacement; sorted."""
    minority, majority = np.flatnonzero(tumour), np.flatnonzero(~tumour)
    count = min(len(majority), int(OTHERS_PER_TUMOUR * len(minority)))
    drawn = np.random.default_rng(seed).choice(majority, count, replace=False)
    return np.sort(np.concatenate([minority, drawn]))


def padded(plane: np.ndarray) -> np.ndarray:
    """A slice with PADDING mirrored pixels on each side, the edge itself not repeated."""
    return np.pad(plane, PADDING, mode="reflect")


def mean(scores: np.ndarray, shape: tuple[int, int], stride: int) -> np.ndarray:
    """The mean score of all patches that cover a pixel of the slice that was `padded`."""
    total = np.zeros([n + 2 * PADDING + 1 for n in shape])
    # The corners of every patch's square; running sums fill them.
    rows, columns = (np.arange(n) * stride for n in scores.shape)
    count = np.zeros_like(total)
    for target, values in ((total, scores.astype(np.float64)), (count, np.ones(scores.shape))):
        for down, right, sign in ((0, 0, 1), (SIDE, 0, -1), (0, SIDE, -1), (SIDE, SIDE, 1)):
            target[np.ix_(rows + down, columns + right)] += sign * values
    inner = tuple(slice(PADDING, PADDING + n) for n in shape)
    total, count = (values.cumsum(0).cumsum(1)[inner] for values in (total, count))
    return total / count.round()


def centre(scores: np.ndarray, shape: tuple[int, int], stride: int) -> np.ndarray:
    """The score of the patch whose middle is nearest to a pixel of the slice that was `padded`."""
    nearest = [np.minimum((np.arange(n) + stride // 2) // stride, m - 1) for n, m in zip(shape, scores.shape, strict=True)]
    return scores[np.ix_(*nearest)].astype(np.float64)


RECONSTRUCTIONS = {"mean": mean, "centre": centre}
