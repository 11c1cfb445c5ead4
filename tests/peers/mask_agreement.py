"""Agreement of two label volumes by SciPy, the oracle of tests/agreement.rs.

Usage: mask_agreement.py (PREDICTED.nii.gz ANNOTATED.nii.gz everywhere|between)...
Prints a JSON list with one object for each three arguments: the agreement of all that is not 0; that of each annotated
instance with its partner; what remains, and panoptic quality; the share of predicted voxels outside the largest
component.

Definitions as in models/src/evaluate, other ways to the numbers: surfaces by erosion, nearest points in the world by a
k-d tree, hits of panoptic quality from all pairs at once. Needs nibabel, numpy and scipy. panoptica 2.1.7, which wants
an older numpy than tests/requirements.txt has, gave the same Dice, ASSD, RQ, SQ and PQ to 14 digits on three exams.
"""

import json
import sys

import nibabel
import numpy as np
from scipy.ndimage import binary_erosion, generate_binary_structure, label
from scipy.spatial import cKDTree

# NSD within 1 mm, and what the rounding of a spacing may add.
TOLERANCE_MM = 1.0 + 1e-6
FOUND_DICE = 0.5
HIT_IOU = 0.5


def surface_points(mask: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """World coordinates of the voxels that an erosion by face neighbours removes."""
    eroded = binary_erosion(mask, generate_binary_structure(3, 1))
    return np.argwhere(mask & ~eroded) @ affine[:3, :3].T + affine[:3, 3]


def agreement(predicted: np.ndarray, annotated: np.ndarray, affine: np.ndarray) -> dict:
    """Dice, ASSD and NSD of two masks."""
    sizes = int(predicted.sum()), int(annotated.sum())
    if sum(sizes) == 0:
        return {"dice": 1.0, "assd_mm": None, "nsd": 1.0}
    if 0 in sizes:
        return {"dice": 0.0, "assd_mm": None, "nsd": 0.0}
    surfaces = surface_points(predicted, affine), surface_points(annotated, affine)
    there = cKDTree(surfaces[1]).query(surfaces[0])[0]
    back = cKDTree(surfaces[0]).query(surfaces[1])[0]
    return {
        "dice": 2 * int((predicted & annotated).sum()) / sum(sizes),
        "assd_mm": (there.mean() + back.mean()) / 2,
        "nsd": float((np.concatenate([there, back]) <= TOLERANCE_MM).mean()),
    }


def ious(predicted: np.ndarray, annotated: np.ndarray) -> dict[tuple[int, int], float]:
    """Intersection over union of each (annotated, predicted) pair of labels that overlaps."""
    both = (predicted > 0) & (annotated > 0)
    pairs, common = np.unique(np.stack([annotated[both], predicted[both]]), axis=1, return_counts=True)
    sizes = [dict(zip(*np.unique(volume, return_counts=True), strict=True)) for volume in (annotated, predicted)]
    return {
        (int(a), int(p)): float(n / (sizes[0][a] + sizes[1][p] - n)) for (a, p), n in zip(pairs.T, common, strict=True)
    }


def partners(overlaps: dict[tuple[int, int], float]) -> dict[int, int]:
    """Each annotated label takes one predicted label, the best pairs first."""
    taken: dict[int, int] = {}
    for a, p in sorted(overlaps, key=lambda pair: (-overlaps[pair], pair)):
        if a not in taken and p not in taken.values():
            taken[a] = p
    return taken


def in_scope(predicted: np.ndarray, annotated: np.ndarray, affine: np.ndarray, scope: str) -> set[int]:
    """Predicted labels whose centre lies between the annotated ones' highest and lowest voxel, or all."""
    labels = {int(p) for p in np.unique(predicted)} - {0}
    if scope == "everywhere":
        return labels
    heights = np.argwhere(annotated > 0) @ affine[2, :3] + affine[2, 3]
    centres = {p: (np.argwhere(predicted == p) @ affine[2, :3] + affine[2, 3]).mean() for p in labels}
    return {p for p, z in centres.items() if heights.min() <= z <= heights.max()}


def compare_instances(predicted: np.ndarray, annotated: np.ndarray, affine: np.ndarray, scope: str) -> dict:
    """Matches, counts and panoptic quality."""
    overlaps = ious(predicted, annotated)
    taken = partners(overlaps)
    matches = {}
    for a in (int(a) for a in np.unique(annotated) if a != 0):
        partner = taken.get(a)
        inside = predicted == partner if partner else np.zeros_like(predicted, bool)
        matches[a] = {"partner": partner, **agreement(inside, annotated == a, affine)}
    inside = in_scope(predicted, annotated, affine, scope)
    hits = {pair: iou for pair, iou in overlaps.items() if iou > HIT_IOU}
    found = {m["partner"] for m in matches.values() if m["dice"] > FOUND_DICE}
    false_positives = len(inside - {p for _, p in hits})
    false_negatives = len(matches) - len(hits)
    rq = len(hits) / (len(hits) + (false_positives + false_negatives) / 2)
    sq = float(np.mean(list(hits.values()))) if hits else None
    return {
        "matches": matches,
        "predicted": len(inside),
        "spurious": len(inside - found),
        "rq": rq,
        "sq": sq,
        "pq": rq * (sq or 0.0),
    }


def off_largest(mask: np.ndarray) -> float:
    """Share of the voxels outside the largest component, joined by faces, edges or corners."""
    numbers, _ = label(mask, generate_binary_structure(3, 3))
    sizes = np.bincount(numbers[mask])
    return float(1 - sizes.max() / sizes.sum()) if sizes.size else 0.0


def compare_files(predicted_file: str, annotated_file: str, scope: str) -> dict:
    """Everything about two volumes, which must be on one grid."""
    images = [nibabel.load(file) for file in (predicted_file, annotated_file)]
    affine = images[0].affine.astype(np.float64)
    assert np.array_equal(images[0].affine, images[1].affine), "two grids"
    predicted, annotated = (np.asarray(image.dataobj).astype(np.int64) for image in images)
    report = compare_instances(predicted, annotated, affine, scope)
    report["whole"] = agreement(predicted > 0, annotated > 0, affine)
    report["off_largest"] = off_largest(predicted > 0)
    return report


def main() -> None:
    words = sys.argv[1:]
    pairs = zip(words[0::3], words[1::3], words[2::3], strict=True)
    json.dump([compare_files(*pair) for pair in pairs], sys.stdout)


if __name__ == "__main__":
    main()
