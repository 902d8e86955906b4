"""Tiny MONAI bundles and Auto3DSeg models with random weights, and what MONAI itself makes of images with them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.inferers import SlidingWindowInfererAdapt
from monai.networks.nets import SegResNet, SegResNetDS
from monai.transforms import (
    Compose,
    CropForegroundd,
    EnsureTyped,
    Invertd,
    Lambdad,
    LoadImaged,
    NormalizeIntensityd,
    Orientationd,
    Spacingd,
)

BUNDLE_NETWORK: dict[str, Any] = {
    "_target_": "SegResNet",
    "blocks_down": [1, 1],
    "blocks_up": [1],
    "init_filters": 8,
    "in_channels": 4,
    "out_channels": 3,
    "dropout_prob": 0.2,
}
BUNDLE: dict[str, Any] = {
    "imports": ["$import glob"],
    "bundle_root": ".",
    "device": "$torch.device('cpu')",
    "spatial_size": [16, 16, 16],
    "network_def": BUNDLE_NETWORK,
    "network": "$@network_def.to(@device)",
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "LoadImaged", "keys": "image"},
            {"_target_": "NormalizeIntensityd", "keys": "image", "nonzero": True, "channel_wise": True},
        ],
    },
    "inferer": {
        "_target_": "SlidingWindowInferer",
        "roi_size": "@spatial_size",
        "sw_batch_size": 1,
        "overlap": 0.5,
    },
    "postprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "Activationsd", "keys": "pred", "sigmoid": True},
            {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.5},
            {"_target_": "Lambdad", "keys": "pred", "func": "$lambda x: x"},
        ],
    },
}
METADATA: dict[str, Any] = {
    "version": "0.5.3",
    "name": "Tiny bundle",
    "description": "A tiny model",
    "intended_use": "This is an example",
    "network_data_format": {
        "inputs": {"image": {"channel_def": {"0": "T1c", "1": "T1", "2": "T2", "3": "FLAIR"}}},
        "outputs": {"pred": {"channel_def": {"0": "Tumor core", "1": "Whole tumor", "2": "Enhancing tumor"}}},
    },
}
ORDER = ("t1ce", "t1", "t2", "flair")
AUTO_ORDER = ("flair", "t1ce", "t1", "t2")


def _shaken(network: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Weights of which none is 0 or 1, and outputs that differ from place to place."""
    torch.manual_seed(seed)
    for name, parameter in network.named_parameters():
        if parameter.ndim == 1:
            torch.nn.init.uniform_(parameter, *((0.5, 1.5) if name.endswith("weight") else (-0.2, 0.2)))
        else:
            torch.nn.init.normal_(parameter, std=2 / parameter[0].numel() ** 0.5)
    return network.eval()


def write_bundle(folder: Path, config: dict[str, Any] = BUNDLE, metadata: dict[str, Any] = METADATA) -> torch.nn.Module:
    """Write a bundle; returns its network."""
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "configs" / "inference.json").write_text(json.dumps(config))
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata))
    arguments = {key: value for key, value in BUNDLE_NETWORK.items() if key != "_target_"}
    network = _shaken(SegResNet(**arguments))
    torch.save(network.state_dict(), folder / "models" / "model.pt")
    return network


def run_bundle(config: dict[str, Any], network: torch.nn.Module, files: Sequence[Path]) -> np.ndarray:
    """Labels ``(Z, Y, X)`` as MONAI's own parser, transforms and inferer give them, composed as BraTS has them."""
    parser = ConfigParser({key: config[key] for key in ("preprocessing", "inferer", "spatial_size")})
    image = parser.get_parsed_content("preprocessing")({"image": [str(file) for file in files]})["image"]
    with torch.inference_mode():
        logits = parser.get_parsed_content("inferer")(inputs=image[None].as_tensor(), network=network)[0]
    core, whole, enhancing = (torch.sigmoid(logits) >= 0.5).numpy()
    labels = np.where(enhancing, 3, np.where(core, 1, np.where(whole, 2, 0)))
    return np.asarray(labels.transpose(2, 1, 0))


def auto3dseg_config(**changes: Any) -> dict[str, Any]:
    """A configuration as a checkpoint of Auto3DSeg's SegResNet holds it."""
    return {
        "bundle_root": "/somewhere/brats23/segresnet_0",
        "network": {
            "_target_": "SegResNetDS",
            "init_filters": 8,
            "blocks_down": [1, 1, 1],
            "norm": "INSTANCE",
            "in_channels": 4,
            "out_channels": 3,
            "dsdepth": 2,
        },
        "normalize_mode": "meanstd",
        "intensity_bounds": [0.0, 1.0],
        "roi_size": [16, 24, 16],
        "resample_resolution": [1.0, 1.0, 1.0],
        "orientation_ras": True,
        "crop_foreground": True,
        "sigmoid": True,
    } | changes


def write_auto3dseg(file: Path, config: dict[str, Any]) -> torch.nn.Module:
    """Write a ``model.pt``; returns its network."""
    arguments = {key: value for key, value in config["network"].items() if key != "_target_"}
    network = _shaken(SegResNetDS(**arguments))
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": network.state_dict(), "config": config, "epoch": 3, "best_metric": np.float64(0.5)}, file)
    return network


def run_auto3dseg(config: dict[str, Any], network: torch.nn.Module, files: Sequence[Path]) -> np.ndarray:
    """Labels ``(Z, Y, X)`` by the operations of MONAIAuto3DSeg's script, in fp32."""
    steps: list[Any] = [
        LoadImaged(keys="image", ensure_channel_first=True, dtype=None, image_only=False),
        EnsureTyped(keys="image", data_type="tensor", dtype=torch.float),
    ]
    if config["orientation_ras"]:
        steps.append(Orientationd(keys="image", axcodes="RAS"))
    if config["crop_foreground"]:
        steps.append(CropForegroundd(keys="image", source_key="image", margin=10, allow_smaller=True))
    pixdim = config["resample_resolution"]
    steps.append(Spacingd(keys=["image"], pixdim=pixdim, mode=["bilinear"], dtype=torch.float))
    steps.append(NormalizeIntensityd(keys="image", nonzero=True, channel_wise=True))
    if config["normalize_mode"] == "meanstdtanh":
        steps.append(Lambdad(keys="image", func=lambda x: 3 * torch.tanh(x / 3)))
    prepare = Compose(steps)
    data = prepare({"image": [str(file) for file in files]})
    infer = SlidingWindowInfererAdapt(roi_size=config["roi_size"], sw_batch_size=1, overlap=0.625, mode="gaussian")
    with torch.inference_mode():
        logits = infer(inputs=data["image"][None].as_tensor(), network=network)[0]
    probabilities = torch.sigmoid(logits) if config["sigmoid"] else torch.softmax(logits, dim=0)
    data["pred"] = data["image"].clone()
    data["pred"].set_array(probabilities)
    back = Invertd(keys="pred", orig_keys="image", transform=prepare, nearest_interp=False)(data)["pred"].numpy()
    if config["sigmoid"]:
        whole, core, enhancing = back >= 0.5
        labels = np.where(enhancing, 3, np.where(core, 1, np.where(whole, 2, 0)))
    else:
        labels = back.argmax(axis=0)
    return np.asarray(labels.transpose(2, 1, 0))
