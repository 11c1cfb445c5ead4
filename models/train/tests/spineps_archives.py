"""Release folders of exactly the form of SPINEPS' archives, with random weights, and the real networks that made them.

The archives themselves cannot be had here. The networks are not ours: `dynamic_network_architectures` (nnU-Net's),
`monai` (the labelling net's) and `unet3D.py` of SPINEPS. The form of the checkpoints follows spineps.md, section 11.
"""

import contextlib
import importlib.util
import json
import sys
import types
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from monai.networks.nets import DenseNet121, DenseNet169
from torch import nn

T2W_LABELS = {
    "1": "Arcus_Vertebrae",
    "2": "Spinosus_Process",
    "3": "Costal_Process_Left",
    "4": "Costal_Process_Right",
    "5": "Superior_Articular_Left",
    "6": "Superior_Articular_Right",
    "7": "Inferior_Articular_Left",
    "8": "Inferior_Articular_Right",
    "9": "Vertebra_Corpus_border",
    "10": "Spinal_Cord",
    "11": "Spinal_Canal",
    "12": 62,
    "13": "Vertebra_Disc",
    "14": "S1",
}

SMALL = {
    "features": [8, 16, 24],
    "kernels": [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
    "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
    "patch": [4, 16, 24],
}
"""A U-Net of three stages, anisotropic like all plans of thick slices."""
TRUE = {
    "features": [32, 64, 128, 256, 320, 320],
    "kernels": [[3, 3, 3]] * 6,
    "strides": [[1, 1, 1], *[[2, 2, 2]] * 5],
    "patch": [32, 64, 64],
}
"""The usual plan of six stages; its patch is smaller than nnU-Net's, to be run here."""


def vary(net: nn.Module, seed: int) -> nn.Module:
    """Random weights, and normalisations that are not the identity; ready for inference."""
    draw = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, (nn.InstanceNorm3d, nn.GroupNorm, nn.BatchNorm3d)):
            size = module.weight.shape
            module.weight.data = 0.8 + 0.4 * torch.rand(size, generator=draw)
            module.bias.data = 0.4 * torch.rand(size, generator=draw) - 0.2
        if isinstance(module, nn.Linear):
            module.weight.data *= 4  # logits of the order of 1, as trained ones are
        if isinstance(module, nn.BatchNorm3d):
            module.running_mean = 0.4 * torch.rand(size, generator=draw) - 0.2
            module.running_var = 0.8 + 0.4 * torch.rand(size, generator=draw)
    return net.eval()


def unet(residual: bool, form: dict[str, Any], classes: int, seed: int) -> nn.Module:
    """nnU-Net's network, as nnU-Net makes it from a plan."""
    torch.manual_seed(seed)
    stages = len(form["features"])
    blocks = {"n_blocks_per_stage": [1, 2, *[2] * (stages - 2)]} if residual else {"n_conv_per_stage": [2] * stages}
    network = ResidualEncoderUNet if residual else PlainConvUNet
    net = network(
        input_channels=1,
        n_stages=stages,
        features_per_stage=form["features"],
        conv_op=nn.Conv3d,
        kernel_sizes=form["kernels"],
        strides=form["strides"],
        num_classes=classes,
        n_conv_per_stage_decoder=[2] * (stages - 1),
        conv_bias=True,
        norm_op=nn.InstanceNorm3d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
        deep_supervision=False,
        **blocks,
    )
    return vary(net, seed)


def semantic(
    folder: Path, *, residual: bool = False, form: dict[str, Any] = SMALL, folds: int = 1, legacy: bool = False
) -> list[nn.Module]:
    """An nnU-Net release in `folder`; the residual one has the new plans. Returns the network of each fold."""
    folder.mkdir(parents=True)
    plans = semantic_plans(residual, form)
    dataset = {"channel_names": {"0": "T2w"}, "labels": {"background": 0, **{f"s{k}": int(k) for k in T2W_LABELS}}}
    config = {**configuration("nnunet", "T2w"), "available_folds": folds, "labels": T2W_LABELS}
    for name, content in (("plans", plans), ("dataset", dataset), ("inference_config", config)):
        (folder / f"{name}.json").write_text(json.dumps(content))
    nets = []
    for fold in range(folds):
        net = unet(residual, form, len(dataset["labels"]), 7 + fold)
        nets.append(net)
        path = folder / f"fold_{fold}" / "checkpoint_final.pth"
        path.parent.mkdir()
        content = semantic_checkpoint(net, plans, dataset, fold)
        torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return nets


def semantic_checkpoint(net: nn.Module, plans: dict[str, Any], dataset: dict[str, Any], fold: int) -> dict[str, Any]:
    """What nnU-Net's trainer saves: weights, optimiser with its momentum, logs with numpy's numbers, arguments."""
    optimizer = torch.optim.SGD(net.parameters(), 0.01, momentum=0.99, nesterov=True, weight_decay=3e-5)
    sum(parameter.sum() for parameter in net.parameters()).backward()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    optimizer.step()
    net.load_state_dict(before)
    return {
        "network_weights": net.state_dict(),
        "optimizer_state": optimizer.state_dict(),
        "grad_scaler_state": {"scale": 65536.0, "growth_factor": 2.0, "_growth_tracker": 1},
        "logging": {"mean_fg_dice": [np.float64(0.5), np.float32(0.75)], "counts": np.arange(4), "bytes": b"\x00\xff"},
        "_best_ema": np.float64(0.8),
        "current_epoch": 1000,
        "init_args": {
            "plans": plans,
            "configuration": "3d_fullres",
            "fold": fold,
            "dataset_json": dataset,
            "unpack_dataset": True,
            "device": torch.device("cuda"),
        },
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1),
    }


def semantic_plans(residual: bool, form: dict[str, Any]) -> dict[str, Any]:
    """plans.json: the new `architecture` for the residual network, the old keys for the plain one."""
    stages = len(form["features"])
    common = {
        "patch_size": form["patch"],
        "spacing": [1.65, 0.75, 0.75],
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
    }
    if residual:
        kwargs = {
            "n_stages": stages,
            "features_per_stage": form["features"],
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": form["kernels"],
            "strides": form["strides"],
            "n_blocks_per_stage": [1, 2, *[2] * (stages - 2)],
            "n_conv_per_stage_decoder": [2] * (stages - 1),
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        }
        name = "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet"
        own = {"architecture": {"network_class_name": name, "arch_kwargs": kwargs, "_kw_requires_import": ["conv_op"]}}
    else:
        own = {
            "UNet_class_name": "PlainConvUNet",
            "UNet_base_num_features": form["features"][0],
            "unet_max_num_features": form["features"][-1],
            "n_conv_per_stage_encoder": [2] * stages,
            "n_conv_per_stage_decoder": [2] * (stages - 1),
            "conv_kernel_sizes": form["kernels"],
            "pool_op_kernel_sizes": form["strides"],
        }
    return {
        "transpose_forward": [0, 1, 2],
        "configurations": {
            "base": {**common, **own},
            "3d_fullres": {"inherits_from": "base"},
        },
    }


def instance(folder: Path, width: int, channels: int, cutout: list[int] | None, *, legacy: bool = False) -> nn.Module:
    """An instance release in `folder`; without `cutout` the configuration names none, as SPINEPS allows."""
    folder.mkdir(parents=True)
    config = {**configuration("unet", "SEG"), "labels": {"1": 1, "2": 2, "3": 3}}
    config |= {"cutout_size": cutout} if cutout else {}
    (folder / "inference_config.json").write_text(json.dumps(config))
    torch.manual_seed(width + channels)
    net = vary(_spineps_unet().Unet3D(dim=width, dim_mults=(1, 2, 4, 8), out_dim=4, channels=channels), width)
    options = Namespace(n_epoch=200, lr=1e-4, channelwise=channels > 1)
    state = {f"network.{name}": tensor for name, tensor in net.state_dict().items()}
    content = lightning(state, {"opt": options, "do2D": False})
    torch.save(content, folder / "sub-weights.ckpt", _use_new_zipfile_serialization=not legacy)
    return net


HEADS = {"REGION": 3, "VERT": 24, "VERTEX": 26, "VT13": 2, "VERTREL": 6, "VERTGRP": 12, "FULLYVISIBLE": 2}


class Classifier(nn.Module):
    """A trunk without its last layer and a head of two layers per question, under SPINEPS' names."""

    def __init__(self, backbone: str) -> None:
        super().__init__()
        made = {"DENSENET169": DenseNet169, "DENSENET121": DenseNet121}[backbone]
        self.net = made(spatial_dims=3, in_channels=1, out_channels=sum(HEADS.values()))
        width = self.net.class_layers[-1].in_features
        self.net.class_layers = self.net.class_layers[:-1]
        self.classification_heads = nn.ModuleDict(
            {
                head: nn.Sequential(nn.Linear(width, width // 2), nn.ReLU(), nn.Linear(width // 2, count))
                for head, count in HEADS.items()
            }
        )

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        features = self.net(image)
        return {name: head(features) for name, head in self.classification_heads.items()}


def labelling(folder: Path, backbone: str, final_size: tuple[int, int, int]) -> nn.Module:
    """A labelling release in `folder`; its options are an object of a class that cannot be imported later."""
    folder.mkdir(parents=True)
    config = {**configuration("classifier", "T2w"), "labels": {}}
    (folder / "inference_config.json").write_text(json.dumps(config))
    torch.manual_seed(3)
    net = vary(Classifier(backbone), 3)
    path = folder / "logs" / "epoch=9-val_f1=0.99_valf1-weights.ckpt"
    path.parent.mkdir()
    with options_class() as options_of_spineps:
        options = options_of_spineps()
        options.__dict__ |= {"backbone": backbone, "final_size": final_size, "ds_name": "sagittal_v3corpus_npz"}
        torch.save(lightning(net.state_dict(), {"opt": options, "group_2_n_channel": dict(HEADS)}), path)
    return net


@contextlib.contextmanager
def options_class() -> Iterator[type]:
    """A class under the name of SPINEPS' own, which is importable in here only."""
    place = "spineps.architectures.pl_densenet"
    names = ("spineps", "spineps.architectures", place)
    modules = {name: types.ModuleType(name) for name in names}
    modules[place].ARGS_MODEL = type("ARGS_MODEL", (), {"__module__": place})
    sys.modules |= modules
    try:
        yield modules[place].ARGS_MODEL
    finally:
        for name in names:
            del sys.modules[name]


def lightning(state: dict[str, torch.Tensor], hyper_parameters: dict[str, Any]) -> dict[str, Any]:
    """What Lightning 2 saves."""
    score = torch.tensor(0.9)
    return {
        "epoch": 9,
        "global_step": 1000,
        "pytorch-lightning_version": "2.0.8",
        "state_dict": state,
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 10}}}},
        "callbacks": {"ModelCheckpoint{}": {"best_model_score": score, "dirpath": "logs", "path": Path("logs")}},
        "optimizer_states": [],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": hyper_parameters,
    }


def configuration(kind: str, modality: str) -> dict[str, Any]:
    """The keys that every inference_config.json has."""
    return {
        "log_name": "test",
        "modality": modality,
        "acquisition": "sag",
        "modeltype": kind,
        "model_expected_orientation": ["P", "I", "R"],
        "available_folds": 1,
        "inference_augmentation": False,
        "resolution_range": [0.75, 0.75, 1.65],
        "default_step_size": 0.5,
    }


def _spineps_unet() -> types.ModuleType:
    """SPINEPS' own unet3D.py, alone: its package wants much else."""
    folder = importlib.util.find_spec("spineps").submodule_search_locations[0]
    spec = importlib.util.spec_from_file_location("spineps_unet3d", Path(folder) / "architectures_new" / "unet3D.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
