"""The 3-D U-Nets of nnU-Net v2 as a plan describes them (spineps.md, section 11): plain, or with a residual encoder.

`Plan` is plans.json and dataset.json, checked; `build` writes the network. Tensors have the names of
`dynamic_network_architectures`, where each block is stored under two names and the encoder under two paths.
"""

from dataclasses import dataclass
from typing import Any

from . import Refused
from .graph import EPSILON, Graph, Map, Sides
from .release import are_millimetres, need
from .state import State

PLANS = "plans.json"
DATASET = "dataset.json"

PLAIN = "PlainConvUNet"
RESIDUAL = "ResidualEncoderUNet"
BLOCKS = {PLAIN: "n_conv_per_stage", RESIDUAL: "n_blocks_per_stage"}
"""The networks, and the key of their plan that says how deep an encoder's stage is."""

MAX_STAGES = 12
"""nnU-Net halves a patch while an axis has 8 voxels: a patch of 512 has 7 stages."""
MAX_NUMBER = 1024
"""Of voxels along a patch, channels, blocks, kernels: beyond, the plan is damaged (nnU-Net's widest net has 512)."""

CT = "CTNormalization"
NORMALISATIONS = {"ZScoreNormalization": "z-score", CT: "clip to percentiles, then mean and std, of the training set"}
"""Of the input, by nnU-Net's name: what SPINEPS' models use."""

_FIXED = {
    "conv_op": "Conv3d",
    "norm_op": "InstanceNorm3d",
    "nonlin": "LeakyReLU",
    "norm_op_kwargs": {"eps": EPSILON, "affine": True},
    "nonlin_kwargs": {"inplace": True},
    "dropout_op": None,
    "dropout_op_kwargs": None,
}
"""What every plan of nnU-Net says of its blocks; another value would be another network."""


@dataclass(frozen=True)
class Plan:
    """One configuration of plans.json. Sides, kernels and strides are in the order of the net's axes."""

    network: str
    features: list[int]
    kernels: list[Sides]
    strides: list[Sides]
    encoder_blocks: list[int]
    decoder_convs: list[int]
    bias: bool
    patch: Sides
    spacing_mm: list[float]
    transpose: list[int]
    schemes: list[str]
    masked: list[bool]
    intensities: dict[str, Any]
    channels: list[str]
    classes: int


def read_plan(plans: dict[str, Any], dataset: dict[str, Any], name: str) -> Plan:
    """The configuration `name`, with the channels and classes of the data set."""
    configuration = _configuration(plans, name)
    if configuration.get("previous_stage"):
        raise Refused(
            f"{PLANS}: {name} is the second half of a cascade, which SPINEPS does not use and we do not import"
        )
    architecture = _architecture(configuration)
    network = architecture["network"]
    stages = architecture["n_stages"]
    channels = dataset.get("channel_names", dataset.get("modality"))
    if not isinstance(channels, dict) or not channels:
        raise Refused(f"{DATASET} has no channel_names: get it from the release")
    plan = Plan(
        network=network,
        features=_counts(architecture, "features_per_stage", stages),
        kernels=_triples(architecture, "kernel_sizes", stages),
        strides=_triples(architecture, "strides", stages),
        encoder_blocks=_counts(architecture, BLOCKS[network], stages),
        decoder_convs=_counts(architecture, "n_conv_per_stage_decoder", stages - 1),
        bias=need(architecture, "conv_bias", bool, PLANS),
        patch=_triples({"patch_size": [configuration.get("patch_size")]}, "patch_size", 1)[0],
        spacing_mm=need(configuration, "spacing", list, PLANS),
        transpose=need(plans, "transpose_forward", list, PLANS),
        schemes=need(configuration, "normalization_schemes", list, PLANS),
        masked=need(configuration, "use_mask_for_norm", list, PLANS),
        intensities=plans.get("foreground_intensity_properties_per_channel", {}),
        channels=[str(channel) for channel in channels.values()],
        classes=_classes(dataset),
    )
    _check(plan)
    return plan


def build(graph: Graph, plan: Plan, state: State) -> None:
    """Writes the network; input `image`, output `logits` at the full size of the patch."""
    x = graph.input("image", len(plan.channels), plan.patch)
    residual = plan.network == RESIDUAL
    if residual:
        x = _conv_block(graph, plan, x, "encoder.stem.convs.0", plan.features[0], plan.kernels[0])
    skips = []
    for stage in range(len(plan.features)):
        x = (_residual_stage if residual else _plain_stage)(graph, plan, x, stage)
        skips.append(x)
    x = _decoder(graph, plan, skips, state)
    graph.output("logits", x.name, (x.channels, *x.sides))
    state.copies(_original)


def _plain_stage(graph: Graph, plan: Plan, x: Map, stage: int) -> Map:
    for index in range(plan.encoder_blocks[stage]):
        stride = plan.strides[stage] if index == 0 else (1, 1, 1)
        path = f"encoder.stages.{stage}.0.convs.{index}"
        x = _conv_block(graph, plan, x, path, plan.features[stage], plan.kernels[stage], stride)
    return x


def _residual_stage(graph: Graph, plan: Plan, x: Map, stage: int) -> Map:
    for index in range(plan.encoder_blocks[stage]):
        stride = plan.strides[stage] if index == 0 else (1, 1, 1)
        x = _residual_block(graph, plan, x, f"encoder.stages.{stage}.blocks.{index}", stage, stride)
    return x


def _residual_block(graph: Graph, plan: Plan, x: Map, path: str, stage: int, stride: Sides) -> Map:
    """Two convolutions; beside them the input, averaged where they stride and projected where they widen."""
    features, kernel = plan.features[stage], plan.kernels[stage]
    inner = _conv_block(graph, plan, x, f"{path}.conv1", features, kernel, stride)
    inner = graph.conv(inner, f"{path}.conv2.conv", features, kernel, bias=plan.bias)
    inner = graph.instance_norm(inner, f"{path}.conv2.norm")
    beside, step = x, 0
    if stride != (1, 1, 1):
        beside, step = graph.average_pool(x, f"{path}.skip.0", stride), 1
    if x.channels != features:
        beside = graph.conv(beside, f"{path}.skip.{step}.conv", features, (1, 1, 1), bias=False)
        beside = graph.instance_norm(beside, f"{path}.skip.{step}.norm")
    return graph.leaky_relu(graph.add(inner, beside, f"{path}.sum"))


def _decoder(graph: Graph, plan: Plan, skips: list[Map], state: State) -> Map:
    x = skips[-1]
    last = len(skips) - 2
    for stage in range(len(skips) - 1):
        skip, stride = skips[-stage - 2], plan.strides[-stage - 1]
        x = graph.up_conv(x, f"decoder.transpconvs.{stage}", skip.channels, stride, stride, bias=plan.bias)
        x = graph.concat([x, skip], f"decoder.stages.{stage}.concat")
        for index in range(plan.decoder_convs[stage]):
            path = f"decoder.stages.{stage}.convs.{index}"
            x = _conv_block(graph, plan, x, path, skip.channels, plan.kernels[-stage - 2])
        if stage < last:
            head, reason = f"decoder.seg_layers.{stage}", "a deep-supervision head, used in training only"
            state.leave(f"{head}.weight", (plan.classes, x.channels, 1, 1, 1), reason)
            state.leave(f"{head}.bias", (plan.classes,), reason)
    return graph.conv(x, f"decoder.seg_layers.{last}", plan.classes, (1, 1, 1))


def _conv_block(
    graph: Graph, plan: Plan, x: Map, path: str, features: int, kernel: Sides, stride: Sides = (1, 1, 1)
) -> Map:
    x = graph.conv(x, f"{path}.conv", features, kernel, stride, bias=plan.bias)
    return graph.leaky_relu(graph.instance_norm(x, f"{path}.norm"))


def _original(name: str) -> str:
    """The name under which the tensor `name` was taken: the decoder holds the encoder, a block its parts in order."""
    name = name.replace("decoder.encoder.", "encoder.", 1) if name.startswith("decoder.encoder.") else name
    return name.replace(".all_modules.0.", ".conv.").replace(".all_modules.1.", ".norm.")


def _configuration(plans: dict[str, Any], name: str) -> dict[str, Any]:
    """With what it inherits from other configurations."""
    known = need(plans, "configurations", dict, PLANS)
    seen: list[str] = []
    merged: dict[str, Any] = {}
    while name is not None:
        if not isinstance(name, str) or name in seen or not isinstance(known.get(name), dict):
            raise Refused(
                f"{PLANS} has no usable configuration {name!r} (it has {', '.join(known)}): get it from the release"
            )
        seen.append(name)
        merged = {**known[name], **merged}
        name = known[name].get("inherits_from")
    return merged


def _architecture(configuration: dict[str, Any]) -> dict[str, Any]:
    """The new block `architecture`, or the old keys in its form (nnU-Net before 2.4)."""
    block = configuration.get("architecture")
    if block is None:
        network = _network(need(configuration, "UNet_class_name", str, PLANS))
        encoder = need(configuration, "n_conv_per_stage_encoder", list, PLANS)
        base = need(configuration, "UNet_base_num_features", int, PLANS)
        most = need(configuration, "unet_max_num_features", int, PLANS)
        return {
            "network": network,
            "n_stages": _stages(len(encoder)),
            "features_per_stage": [min(base * 2**stage, most) for stage in range(len(encoder))],
            "kernel_sizes": configuration.get("conv_kernel_sizes"),
            "strides": configuration.get("pool_op_kernel_sizes"),
            BLOCKS[network]: encoder,
            "n_conv_per_stage_decoder": configuration.get("n_conv_per_stage_decoder"),
            "conv_bias": True,
        }
    if not isinstance(block, dict):
        raise Refused(f"{PLANS} has an architecture that is no table: get it from the release")
    network = _network(need(block, "network_class_name", str, PLANS))
    given = dict(need(block, "arch_kwargs", dict, PLANS))
    for key, value in _FIXED.items():
        found = given.pop(key, value)
        if isinstance(value, str) and isinstance(found, str):
            found = found.rsplit(".", 1)[-1]
        if found != value:
            raise Refused(
                f"{PLANS} has {key} = {found!r}, we import networks with {value!r} only: we must learn this one"
            )
    own = (
        "n_stages",
        "features_per_stage",
        "kernel_sizes",
        "strides",
        BLOCKS[network],
        "n_conv_per_stage_decoder",
        "conv_bias",
    )
    foreign = sorted(set(given) - set(own))
    if foreign:
        raise Refused(f"{PLANS} has {', '.join(foreign)} in its architecture, which we do not know: we must learn it")
    return {**given, "network": network, "n_stages": _stages(given.get("n_stages"))}


def _network(name: str) -> str:
    name = name.rsplit(".", 1)[-1]
    if name not in BLOCKS:
        raise Refused(
            f"{PLANS} names the network {name}, we import {' and '.join(BLOCKS)} only: we must learn this one"
        )
    return name


def _stages(count: Any) -> int:
    if type(count) is not int or not 2 <= count <= MAX_STAGES:
        raise Refused(f"{PLANS} has {count!r} stages, 2 to {MAX_STAGES} are expected: get it from the release")
    return count


def _counts(table: dict[str, Any], key: str, length: int) -> list[int]:
    """One positive number per stage; a single number stands for all."""
    value = table.get(key)
    values = [value] * length if type(value) is int else value
    if not isinstance(values, list) or len(values) != length or not all(map(_is_number, values)):
        raise Refused(
            f"{PLANS} has {key} = {value!r}, {length} numbers of 1 to {MAX_NUMBER} are expected: get the release again"
        )
    return values


def _triples(table: dict[str, Any], key: str, length: int) -> list[Sides]:
    values = table.get(key)
    if not isinstance(values, list) or len(values) != length:
        raise Refused(f"{PLANS} has {key} = {values!r}, {length} entries are expected: get it from the release")
    for value in values:
        if not isinstance(value, list) or len(value) != 3 or not all(map(_is_number, value)):
            raise Refused(
                f"{PLANS} has {value!r} in {key}, three numbers of 1 to {MAX_NUMBER} are expected: only 3-D is imported"
            )
    return [tuple(value) for value in values]


def _is_number(value: Any) -> bool:
    return type(value) is int and 0 < value <= MAX_NUMBER


def _classes(dataset: dict[str, Any]) -> int:
    """Background included; a label to ignore has no output."""
    labels = need(dataset, "labels", dict, DATASET)
    numbers = sorted(str(value) for label, value in labels.items() if label != "ignore")
    if numbers != sorted(str(n) for n in range(len(numbers))) or len(numbers) < 2:
        raise Refused(f"{DATASET} has labels {labels}, not 0 (background), 1, 2, ...: regions are not imported")
    return len(numbers)


def _check(plan: Plan) -> None:
    """What spans several keys."""
    for axis in range(3):
        total = 1
        for stride in plan.strides:
            total *= stride[axis]
        if plan.patch[axis] % total:
            raise Refused(
                f"{PLANS} has patch_size {list(plan.patch)}, whose axis {axis} does not divide by its strides ({total})"
            )
    if sorted(map(str, plan.transpose)) != ["0", "1", "2"] or not are_millimetres(plan.spacing_mm):
        raise Refused(
            f"{PLANS} has transpose_forward {plan.transpose} and spacing {plan.spacing_mm}, not of three axes"
        )
    count = len(plan.channels)
    if len(plan.schemes) != count or [type(masked) for masked in plan.masked] != [bool] * count:
        raise Refused(
            f"{PLANS} normalises {len(plan.schemes)} channels, {DATASET} names {count}: get both from one release"
        )
    unknown = [scheme for scheme in plan.schemes if str(scheme) not in NORMALISATIONS]
    if unknown:
        raise Refused(
            f"{PLANS} normalises by {unknown[0]}, we know {', '.join(NORMALISATIONS)}: we must learn this one"
        )
