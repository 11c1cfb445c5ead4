"""Enhancing lesions in a drawn anatomy, with their truth, and what is mistaken for them.

Four kinds by compartment: in bone, epidural, intradural beside the cord, and in the cord. Each is an uneven ellipsoid that
takes the tissues its kind grows in. The generator's own metastases (tissue `lesion`) count as bone lesions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from anatomy import Anatomy

# Tissues that are added to the generator's.
ADDED = ("tumour", "tumour core", "scar")

BONE = ("body marrow", "arch marrow", "sacral marrow", "cortex", "basivertebral vein", "endplate", "haemangioma")
EPIDURAL = ("epidural fat", "csf", "ligament", "root", "basivertebral vein")
# What a bone lesion grows into where it breaks out.
AROUND = ("epidural fat", "fat", "muscle", "ligament", "csf", "root")


@dataclass(frozen=True)
class Kind:
    """Where a kind of lesion begins, what it replaces, its diameters in mm, its form (rows, columns,
    across slices), and how many of all lesions are of it."""

    seeds: tuple[str, ...]
    replaces: tuple[str, ...]
    diameters_mm: tuple[float, float]
    form: tuple[float, float, float]
    share: float


KINDS = {
    "bone": Kind(("body marrow", "body marrow", "arch marrow"), BONE, (6, 50), (1, 1, 1), 0.55),
    "epidural": Kind(("epidural fat",), EPIDURAL, (6, 30), (1.7, 0.8, 1), 0.15),
    "intradural extramedullary": Kind(("csf",), ("csf", "root", "cord", "epidural fat"), (5, 24), (1.3, 0.9, 0.9), 0.15),
    "intramedullary": Kind(("cord",), ("cord", "csf"), (5, 18), (2.6, 0.9, 0.9), 0.15),
}
@dataclass(frozen=True)
class Burden:
    """How often an exam has no lesion, how many it has at most, and the diameter that none is drawn below, mm."""

    none: float
    most: int
    least_mm: float


# Of those that are judged.
USUAL = Burden(none=0.2, most=4, least_mm=0.0)
# Of those that are learnt from: one patch of a thousand is tumour in the usual ones, and small lesions fill none.
HEAVY = Burden(none=0.1, most=10, least_mm=14.0)
# How often a bone lesion breaks out of its bone and any lesion has a dead core.
BREAKS_OUT = 0.5
CORE = 0.2


def implant(anatomy: Anatomy, rng: np.random.Generator, burden: Burden = USUAL) -> Anatomy:
    """The anatomy with lesions and some scars behind discs; the arrays of `anatomy` stay as they are."""
    tissue, part, names = anatomy.tissue.copy(), anatomy.part.copy(), [*anatomy.tissues, *ADDED]
    tissue[tissue == names.index("lesion")] = names.index("tumour")
    made = replace(anatomy, tissue=tissue, part=part, tissues=names)
    if rng.random() >= burden.none:
        for n in range(int(rng.integers(1, burden.most + 1))):
            kind = rng.choice(list(KINDS), p=[kind.share for kind in KINDS.values()])
            _grow(made, KINDS[str(kind)], burden.least_mm, n, rng)
    else:
        tissue[tissue == names.index("tumour")] = names.index("modic 1")
    _scar(made, rng)
    return made


def truth(anatomy: Anatomy) -> np.ndarray:
    """The tumours in every slice's own plane, dead cores included."""
    values = [anatomy.tissues.index(name) for name in ("tumour", "tumour core")]
    return np.isin(anatomy.truth(anatomy.tissue), values)


def _grow(anatomy: Anatomy, kind: Kind, least_mm: float, number: int, rng: np.random.Generator) -> None:
    names = anatomy.tissues
    seeds = np.argwhere(anatomy.tissue == names.index(str(rng.choice(kind.seeds))))
    if len(seeds) == 0:
        return
    low, high = np.log(np.maximum(kind.diameters_mm, least_mm))
    radius = np.exp(rng.uniform(low, high)) / 2
    radii = radius * np.array([kind.form[2], kind.form[0], kind.form[1]]) * rng.uniform(0.75, 1.3, 3)
    replaces = kind.replaces + (AROUND if kind is KINDS["bone"] and rng.random() < BREAKS_OUT else ())
    box, distance = _ellipsoid(anatomy, seeds[rng.integers(len(seeds))], radii, rng)
    tissue, part = anatomy.tissue[box], anatomy.part[box]
    taken = (distance < 1) & np.isin(tissue, [names.index(name) for name in replaces])
    core = taken & (distance < rng.uniform(0.2, 0.6)) if rng.random() < CORE else np.zeros_like(taken)
    tissue[taken] = names.index("tumour")
    tissue[core] = names.index("tumour core")
    # Each lesion has its own signal: those of the generator have the numbers of vertebrae.
    part[taken] = 40 + number


def _scar(anatomy: Anatomy, rng: np.random.Generator) -> None:
    """Enhancing tears at the back of some discs: no tumours."""
    annulus = np.argwhere(anatomy.tissue == anatomy.tissues.index("annulus"))
    for _ in range(int(rng.integers(0, 4))):
        if len(annulus) == 0:
            return
        seed, radii = annulus[rng.integers(len(annulus))], rng.uniform(1.5, 4.0, 3)
        box, distance = _ellipsoid(anatomy, seed, radii, rng)
        inside = (distance < 1) & (anatomy.structure[box] != 49)
        anatomy.tissue[box][inside] = anatomy.tissues.index("scar")


def _ellipsoid(
    anatomy: Anatomy, seed: np.ndarray, radii: np.ndarray, rng: np.random.Generator
) -> tuple[tuple[slice, ...], np.ndarray]:
    """The box around an uneven ellipsoid about a voxel, and how far its voxels are out: 1 at the surface. `radii` in mm."""
    across = _places(anatomy)
    centre = np.array([across[seed[0]], *(seed[1:] * anatomy.in_plane_mm)])
    axes = (across, *(np.arange(n) * anatomy.in_plane_mm for n in anatomy.tissue.shape[1:]))
    swell = 1.25
    ranges = [np.flatnonzero(np.abs(axis - c) <= swell * r) for axis, c, r in zip(axes, centre, radii, strict=True)]
    box = tuple(slice(int(found[0]), int(found[-1]) + 1) for found in ranges)
    offsets = [(axis[cut] - c) / r for axis, cut, c, r in zip(axes, box, centre, radii, strict=True)]
    z, y, x = np.meshgrid(*offsets, indexing="ij")
    flat = np.stack([z, y, x]).reshape(3, -1)
    waves = sum(0.08 * np.sin(rng.uniform(1, 4, 3) @ flat + rng.uniform(0, 6.3)) for _ in range(3))
    return box, np.sqrt(z**2 + y**2 + x**2) + waves.reshape(z.shape)


def _places(anatomy: Anatomy) -> np.ndarray:
    """Where the thin slices lie, mm: half a slice's distance apart, the last of a slice where the next one's first is."""
    thin = anatomy.thin_slices
    within = (np.arange(thin) - thin // 2) / (thin - 1)
    return (np.arange(anatomy.slices)[:, None] + within).ravel() * anatomy.slice_mm
