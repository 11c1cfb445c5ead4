"""From a release folder to nets: each is an ONNX model and the card that says how to run it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from . import Refused, card, instance, labelling, nnunet, release
from .checkpoint import Checkpoint
from .graph import Graph, Sides
from .pickled import Options
from .release import Release, need
from .state import State, tensors_of

FINAL = "checkpoint_final.pth"
BEST = "checkpoint_best.pth"
"""What SPINEPS takes when a fold has no final checkpoint."""

CUTOUT: Sides = (248, 304, 64)
"""Of the instance net when the configuration names none, in voxels along P, I, R."""
CODES = {41: 1, 42: 2, 43: 3, 44: 4, 45: 5, 46: 6, 47: 7, 48: 8, 49: 9, 50: 9, 51: 9}
"""Structure -> code of the instance net's input when the configuration names none; all else is 0."""
INSTANCE_FORMS = {(16, 10): "one-hot", (8, 11): "one-hot", (8, 1): "code / 9"}
"""Width and input channels of the instance U-Nets that SPINEPS loads -> how it fills the input."""
MAX_SIDE = 1024
"""Voxels along a side of a cutout or tile: 20 cm at 0.2 mm, finer than any spine exam."""


@dataclass(frozen=True)
class Imported:
    """`card` lacks only the name and hash of the weights; `notes` are for who imports."""

    name: str
    model: onnx.ModelProto
    card: dict[str, Any]
    notes: list[str]


def convert(site: Release) -> Iterator[Imported]:
    """The nets of a release, one by one, since each may be large."""
    kind = need(site.config, "modeltype", str, release.CONFIG)
    kinds = {"nnunet": _semantic, "unet": _instance, "classifier": _labelling}
    if kind not in kinds:
        raise Refused(f"{release.CONFIG} has modeltype {kind!r}, we know {', '.join(kinds)}: we must learn this one")
    yield from kinds[kind](site)


def _semantic(site: Release) -> Iterator[Imported]:
    """One ONNX per fold: nnU-Net averages the logits of its folds, which no average of their weights gives, and a file
    with all folds would need the memory of all at once. The card of each names the others."""
    plans = release.read_json(site.folder / nnunet.PLANS)
    dataset = release.read_json(site.folder / nnunet.DATASET)
    folds = site.folds()
    for fold, path in [(fold, _fold(site.folder, fold)) for fold in folds]:
        with Checkpoint(path) as checkpoint:
            content = _table(checkpoint)
            name = need(need(content, "init_args", dict, path.name), "configuration", str, path.name)
            plan = nnunet.read_plan(plans, dataset, name)
            state = State(checkpoint, tensors_of(checkpoint, content.get("network_weights"), "network_weights"))
            graph = Graph(state)
            nnunet.build(graph, plan, state)
            state.finish(f"the {plan.network} of {nnunet.PLANS}, configuration {name}")
            model = graph.model(f"{site.name}-fold{fold}")
        table = {
            **_head(site, "semantic", path, state),
            "input": _semantic_input(site, plan),
            "tiles": _tiles(site, plan, content.get("inference_allowed_mirroring_axes")),
            "ensemble": {"fold": fold, "folds": folds, "rule": "mean of the logits of all folds, then argmax"},
            "output": {"name": "logits", "shape": [plan.classes, *plan.patch]},
            "classes": _classes(site, plan.classes),
            "about": card.about(f"nnU-Net's {plan.network}, configuration {name}, {content.get('trainer_name')}"),
        }
        notes = [f"fold {fold} has no {FINAL}, {BEST} was taken, as SPINEPS does"] if path.name == BEST else []
        yield Imported(f"{site.name}-fold{fold}", model, table, notes)


def _fold(folder: Path, fold: str) -> Path:
    for name in (FINAL, BEST):
        path = folder / f"fold_{fold}" / name
        if path.is_file():
            return path
    raise Refused(
        f"{folder} has no fold_{fold}/{FINAL}, but {release.CONFIG} lists this fold: unpack the whole archive of the "
        "SPINEPS release"
    )


def _semantic_input(site: Release, plan: nnunet.Plan) -> dict[str, Any]:
    # SPINEPS hands the array over with its axes reversed; then nnU-Net transposes.
    axes = [list(reversed(site.orientation()))[axis] for axis in plan.transpose]
    prepared = [[list(reversed(end))[axis] for axis in plan.transpose] for end in site.spacing_range_mm()]
    normalisation = []
    for index, scheme in enumerate(plan.schemes):
        row: dict[str, Any] = {
            "channel": plan.channels[index],
            "scheme": nnunet.NORMALISATIONS[scheme],
            "only_foreground": plan.masked[index],
        }
        if scheme == nnunet.CT:
            known = need(plan.intensities, str(index), dict, nnunet.PLANS)
            for key in ("percentile_00_5", "percentile_99_5", "mean", "std"):
                row[key] = release.number(known, key, nnunet.PLANS)
        normalisation.append(row)
    return {
        "name": "image",
        "shape": [len(plan.channels), *plan.patch],
        "axes": axes,
        "spacing_mm": plan.spacing_mm,
        "prepared_spacing_mm": prepared,
        "preparation": "SPINEPS: 0..1500, crop to non-zero, N4, 0..1500, pad 4, resample to prepared_spacing_mm "
        "(lowest, highest); nnU-Net: crop to non-zero, normalise, resample to spacing_mm",
        "normalisation": normalisation,
    }


def _tiles(site: Release, plan: nnunet.Plan, axes: Any) -> dict[str, Any]:
    allowed = [] if axes is None else axes
    if not isinstance(allowed, (tuple, list)) or not all(type(axis) is int and 0 <= axis < 3 for axis in allowed):
        raise Refused(f"the checkpoint allows to mirror the axes {axes}, not some of 0, 1, 2: get the release again")
    return {
        "shape": list(plan.patch),
        "step": release.number(site.config, "default_step_size", release.CONFIG),
        "weight": "gaussian, sigma an eighth of the tile",
        # Left and right structures have classes of their own: an axis that is not listed must not be mirrored.
        "mirror_axes": list(allowed),
        "mirror": need(site.config, "inference_augmentation", bool, release.CONFIG),
    }


def _classes(site: Release, count: int) -> list[dict[str, Any]]:
    structures = site.structures(count)
    rows = [{"name": name, "structures": [value]} for name, value in (structures[n] for n in range(1, count))]
    return [{"name": "background", "structures": []}, *rows]


def _instance(site: Release) -> Iterator[Imported]:
    found = sorted(site.folder.rglob("*weights*.ckpt"))
    if len(found) != 1:
        raise Refused(
            f"{site.folder} has {len(found)} files *weights*.ckpt, one is expected: name the unpacked instance archive "
            "of the SPINEPS release"
        )
    with Checkpoint(found[0]) as checkpoint:
        state = _lightning(checkpoint, "network.")
        shape = state.shape("init_conv.weight")
        form = (shape[0], shape[1]) if len(shape) == 5 else (0, 0)
        if form not in INSTANCE_FORMS:
            known = ", ".join(str(form) for form in INSTANCE_FORMS)
            raise Refused(
                f"{checkpoint.file} has network.init_conv.weight of shape {list(shape)}; the instance U-Nets that we "
                f"know have width and channels {known}: we must learn this one"
            )
        width, channels = form
        sides = _sides(site.config.get("cutout_size", CUTOUT), "cutout_size", instance.MULTIPLE_OF)
        graph = Graph(state)
        instance.build(graph, width, channels, sides)
        state.finish(f"the instance U-Net of width {width} with {channels} input channels")
        model = graph.model(site.name)
    table = {
        **_head(site, "instance", found[0], state),
        "input": {
            "name": "labels",
            "shape": [channels, *sides],
            "axes": site.orientation(),
            "spacing_mm": _one_spacing(site),
            "preparation": "the semantic mask around one vertebra, its centre at index side / 2, zeros outside",
            "coding": INSTANCE_FORMS[form],
            "codes": _codes(site, channels),
        },
        "output": {"name": "logits", "shape": [len(instance.CLASSES), *sides]},
        "classes": [{"name": name, "structures": []} for name in instance.CLASSES],
        "about": card.about("SPINEPS' instance U-Net, a Lightning checkpoint"),
    }
    yield Imported(site.name, model, table, [])


def _codes(site: Release, channels: int) -> list[dict[str, Any]]:
    """Which structures each code of the input stands for; SPINEPS makes a code without a channel 0."""
    structures: dict[int, list[int]] = {}
    try:
        for structure, code in site.config.get("mapping", CODES).items():
            structures.setdefault(int(code), []).append(int(structure))
    except (AttributeError, TypeError, ValueError) as error:
        raise Refused(f"{release.CONFIG} has a mapping that is no table of numbers: get the release again") from error
    limit = channels if channels > 1 else max(structures, default=0) + 1
    return [{"code": code, "structures": structures[code]} for code in sorted(structures) if 0 < code < limit]


def _labelling(site: Release) -> Iterator[Imported]:
    found = sorted(site.folder.rglob("*val_f1=*valf1-weights.ckpt"))
    if not found:
        raise Refused(
            f"{site.folder} has no file *val_f1=*valf1-weights.ckpt: name the unpacked labeling archive of the SPINEPS "
            "release"
        )
    with Checkpoint(found[-1]) as checkpoint:
        options, heads = _hyper_parameters(checkpoint)
        backbone = options.get("backbone")
        if not isinstance(backbone, str) or backbone not in labelling.BACKBONES:
            known = " and ".join(labelling.BACKBONES)
            raise Refused(f"{checkpoint.file} has the backbone {backbone!r}, we import {known}: we must learn this one")
        sides = _sides(options.get("final_size"), "final_size", 1)
        state = _lightning(checkpoint, "")
        graph = Graph(state)
        labelling.build(graph, backbone, 1, sides, heads)
        state.finish(f"{backbone} with the heads {', '.join(heads)}")
        model = graph.model(site.name)
    table = {
        **_head(site, "labelling", found[-1], state),
        "input": {
            "name": "image",
            "shape": [1, *sides],
            "axes": site.orientation(),
            "spacing_mm": _one_spacing(site),
            "preparation": "the image around the centre of one vertebra's box, zeros outside",
            # SPINEPS turns the spine upright for data sets of this name only.
            "upright": "v4corpus" in str(options.get("ds_name")),
            "normalisation": [{"channel": "image", "scheme": "z-score", "only_foreground": True}],
        },
        "heads": [{"name": head, "outputs": n, "classes": labelling.HEADS.get(head, [])} for head, n in heads.items()],
        "about": card.about(f"SPINEPS' labelling network VERIDAH, {backbone}, a Lightning checkpoint"),
    }
    notes = [f"{other.name} was not imported: SPINEPS takes the last" for other in found[:-1]]
    notes += [
        f"the head {head} is new to us: its classes have no names" for head in heads if head not in labelling.HEADS
    ]
    yield Imported(site.name, model, table, notes)


def _hyper_parameters(checkpoint: Checkpoint) -> tuple[dict[str, Any], dict[str, int]]:
    """The fields of `opt`, and the outputs of each head."""
    table = _table(checkpoint).get("hyper_parameters")
    options = table.get("opt") if isinstance(table, dict) else None
    heads = table.get("group_2_n_channel") if isinstance(table, dict) else None
    if not isinstance(options, Options) or not isinstance(heads, dict) or not heads:
        raise Refused(
            f"{checkpoint.file} has no hyper_parameters with opt and group_2_n_channel: it is no labelling checkpoint "
            "of SPINEPS"
        )
    for head, count in heads.items():
        known = labelling.HEADS.get(head)
        if not isinstance(head, str) or type(count) is not int or count < 1 or (known and len(known) != count):
            raise Refused(
                f"{checkpoint.file} has the head {head} with {count} outputs, we know {len(known or [])}: what they "
                "mean is unsure, we must learn it"
            )
    return options.fields, dict(heads)


def _lightning(checkpoint: Checkpoint, prefix: str) -> State:
    """The `state_dict`, whose names must all begin with `prefix`."""
    tensors = tensors_of(checkpoint, _table(checkpoint).get("state_dict"), "state_dict")
    foreign = [name for name in tensors if not name.startswith(prefix)]
    if foreign:
        raise Refused(
            f"{checkpoint.file} has {foreign[0]} in state_dict, outside of {prefix}: it is of another network"
        )
    return State(checkpoint, {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}, prefix)


def _table(checkpoint: Checkpoint) -> dict[str, Any]:
    if not isinstance(checkpoint.content, dict):
        raise Refused(f"{checkpoint.file} holds no table: give the checkpoint of the SPINEPS release")
    return checkpoint.content


def _sides(value: Any, key: str, multiple: int) -> Sides:
    numbers = list(value) if isinstance(value, (list, tuple)) else []
    if len(numbers) != 3 or not all(type(n) is int and 0 < n <= MAX_SIDE for n in numbers):
        raise Refused(f"{key} is {value}, three sides of 1 to {MAX_SIDE} voxels are expected: get the release again")
    if any(n % multiple for n in numbers):
        raise Refused(f"{key} is {value}, but the network needs multiples of {multiple}: get the release again")
    a, b, c = numbers
    return a, b, c


def _one_spacing(site: Release) -> list[float]:
    low, high = site.spacing_range_mm()
    if low != high:
        raise Refused(
            f"{release.CONFIG} has resolution_range {low} to {high}, but this net has one: get the release again"
        )
    return low


def _head(site: Release, kind: str, path: Path, state: State) -> dict[str, Any]:
    files = [site.folder / release.CONFIG, path]
    if kind == "semantic":
        files += [site.folder / nnunet.PLANS, site.folder / nnunet.DATASET]
    return {
        "version": site.version,
        "kind": kind,
        "source": {
            "release": site.name,
            "parameters": state.parameters,
            "files": [{"path": f.relative_to(site.folder).as_posix(), "sha256": release.sha256(f)} for f in files],
            "not_used": [{"reason": reason, "tensors": names} for reason, names in state.set_aside.items()],
        },
    }
