"""Masks after the scores: connected parts, crumbs, what is near the spine. Plain numpy."""

from __future__ import annotations

import itertools

import numpy as np
import torch
import torch.nn.functional as F

# Smaller spots of a slice are dropped, mm2, and what is further from the spine, mm (design of the method).
LEAST_MM2 = 20.0
MARGIN_MM = 10.0


def components(mask: np.ndarray) -> np.ndarray:
    """A number from 1 on for each connected part (corners connect) of a mask of two or three axes; 0 elsewhere."""
    padded = np.pad(mask, 1)
    number = np.full(padded.size, -1)
    inside = np.flatnonzero(padded)
    number[inside] = np.arange(len(inside))
    strides = np.array([int(np.prod(padded.shape[n + 1 :])) for n in range(mask.ndim)])
    steps = [int(strides @ offset) for offset in itertools.product((-1, 0, 1), repeat=mask.ndim)]
    beside = [(n, m) for n, m in ((number[inside], number[inside + step]) for step in steps if step > 0)]
    first = np.concatenate([n[m >= 0] for n, m in beside])
    second = np.concatenate([m[m >= 0] for _, m in beside])
    # Every voxel points at one before it of the same part, at last at the first of all.
    root = np.arange(len(inside))
    while True:
        low = np.minimum(root[first], root[second])
        high = np.maximum(root[first], root[second])
        if np.array_equal(low, high):
            break
        np.minimum.at(root, high, low)
        while not np.array_equal(root[root], root):
            root = root[root]
    parts = np.zeros(padded.size, np.int64)
    parts[inside] = np.unique(root, return_inverse=True)[1] + 1
    return parts.reshape(padded.shape)[(slice(1, -1),) * mask.ndim]


def without_crumbs(plane: np.ndarray, pixel_mm: float) -> np.ndarray:
    """The parts of a slice's mask of LEAST_MM2 and more."""
    if not plane.any():
        return plane
    parts = components(plane)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return (sizes * pixel_mm**2 >= LEAST_MM2)[parts]


def near(spine: np.ndarray, pixel_mm: float) -> np.ndarray:
    """Pixels within MARGIN_MM of the spine in their slice (slices, rows, columns)."""
    reach = int(MARGIN_MM / pixel_mm)
    offsets = torch.arange(-reach, reach + 1)
    disc = ((offsets[:, None] ** 2 + offsets**2) * pixel_mm**2 <= MARGIN_MM**2).float()
    planes = torch.from_numpy(spine[:, None].astype(np.float32))
    return (F.conv2d(planes, disc[None, None], padding=reach)[:, 0] > 0.5).numpy()


def cleaned(probability: np.ndarray, spine: np.ndarray, pixel_mm: float, threshold: float = 0.5) -> np.ndarray:
    """What is called tumour in an exam: above the threshold, no crumb, near the spine."""
    said = np.stack([without_crumbs(plane, pixel_mm) for plane in probability > threshold])
    return said & near(spine, pixel_mm)
