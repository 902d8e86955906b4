"""Tiny models as nnU-Net v2 writes them, with random weights, and what nnU-Net makes of a case with them.

Written after nnU-Net's documents and files and without it: networks whose weights have its names, and its prediction in
a few lines of scipy and torch.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import nn

REGIONS = {"background": 0, "whole tumor": [1, 2, 3], "tumor core": [1, 3], "enhancing tumor": 3}
CLASSES = {"background": 0, "NCR": 1, "edema": 2, "enhancing tumor": 3}
CHANNELS = {"0": "T1", "1": "T1ce", "2": "T2", "3": "FLAIR"}


def _unit(dims: int, inputs: int, outputs: int, kernel: int, stride: int, active: bool, bias: bool = True) -> nn.Module:
    """As ConvDropoutNormReLU: each layer has two names."""
    convolution, norm = (nn.Conv2d, nn.InstanceNorm2d) if dims == 2 else (nn.Conv3d, nn.InstanceNorm3d)
    unit = nn.Module()
    unit.conv = convolution(inputs, outputs, kernel, stride, (kernel - 1) // 2, bias=bias)
    unit.norm = norm(outputs, affine=True)
    layers: list[nn.Module] = [unit.conv, unit.norm]
    if active:
        unit.nonlin = nn.LeakyReLU()
        layers.append(unit.nonlin)
    unit.all_modules = nn.Sequential(*layers)
    unit.forward = unit.all_modules.forward
    return unit


def _stack(dims: int, inputs: int, outputs: int, stride: int = 1, count: int = 2) -> nn.Module:
    stack = nn.Module()
    stack.convs = nn.Sequential(
        *(_unit(dims, inputs if n == 0 else outputs, outputs, 3, stride if n == 0 else 1, True) for n in range(count))
    )
    stack.forward = stack.convs.forward
    return stack


class _Block(nn.Module):
    def __init__(self, dims: int, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _unit(dims, inputs, outputs, 3, stride, True)
        self.conv2 = _unit(dims, outputs, outputs, 3, 1, False)
        around: list[nn.Module] = []
        if stride > 1:
            around.append((nn.AvgPool2d if dims == 2 else nn.AvgPool3d)(stride, stride))
        if inputs != outputs:
            around.append(_unit(dims, inputs, outputs, 1, 1, False, bias=False))
        if around:
            self.skip = nn.Sequential(*around)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        around = self.skip(x) if hasattr(self, "skip") else x
        return nn.functional.leaky_relu(self.conv2(self.conv1(x)) + around)


class OriginalUNet(nn.Module):
    """PlainConvUNet or ResidualEncoderUNet, with the outputs of deep supervision and an encoder in the decoder."""

    encoder: Any
    decoder: Any

    def __init__(self, dims: int, channels: int, outputs: int, features: Sequence[int], residual: bool) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Module(), nn.Module()
        if residual:
            self.encoder.stem = _stack(dims, channels, features[0], count=1)
        before = [features[0] if residual else channels, *features]
        stages: list[nn.Module] = []
        for number, (inputs, here) in enumerate(zip(before, features, strict=False)):
            stride = 2 if number else 1
            if residual:
                blocks = nn.Module()
                blocks.blocks = nn.Sequential(_Block(dims, inputs, here, stride), _Block(dims, here, here, 1))
                blocks.forward = blocks.blocks.forward
                stages.append(blocks)
            else:
                stages.append(nn.Sequential(_stack(dims, inputs, here, stride)))
        self.encoder.stages = nn.Sequential(*stages)
        self.decoder.encoder = self.encoder
        up, convolution = (nn.ConvTranspose2d, nn.Conv2d) if dims == 2 else (nn.ConvTranspose3d, nn.Conv3d)
        pairs = list(zip(features[:0:-1], features[-2::-1], strict=True))
        self.decoder.transpconvs = nn.ModuleList(up(below, here, 2, 2) for below, here in pairs)
        self.decoder.stages = nn.ModuleList(_stack(dims, 2 * here, here) for _, here in pairs)
        self.decoder.seg_layers = nn.ModuleList(convolution(here, outputs, 1) for _, here in pairs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        x = self.encoder.stem(x) if hasattr(self.encoder, "stem") else x
        for stage in self.encoder.stages:
            x = stage(x)
            skips.append(x)
        for number, (up, stage) in enumerate(zip(self.decoder.transpconvs, self.decoder.stages, strict=True)):
            x = stage(torch.cat((up(x), skips[-number - 2]), 1))
        result: torch.Tensor = self.decoder.seg_layers[-1](x)
        return result


def make_plans(
    dims: int, patch: Sequence[int], features: Sequence[int], *, residual: bool = False, channels: int = 4
) -> dict[str, Any]:
    """What a ``plans.json`` holds, as far as prediction needs it."""
    stages = len(features)
    blocks = "n_blocks_per_stage" if residual else "n_conv_per_stage"
    arguments = {
        "n_stages": stages,
        "features_per_stage": list(features),
        "conv_op": f"torch.nn.modules.conv.Conv{dims}d",
        "kernel_sizes": [[3] * dims] * stages,
        "strides": [[1] * dims] + [[2] * dims] * (stages - 1),
        blocks: [2] * stages,
        "n_conv_per_stage_decoder": [2] * (stages - 1),
        "conv_bias": True,
        "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dims}d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    kind = "ResidualEncoderUNet" if residual else "PlainConvUNet"
    name = "2d" if dims == 2 else "3d_fullres"
    return {
        "dataset_name": "Dataset001_Tiny",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "label_manager": "LabelManager",
        "configurations": {
            name: {
                "preprocessor_name": "DefaultPreprocessor",
                "patch_size": list(patch),
                "spacing": [1.0] * dims,
                "normalization_schemes": ["ZScoreNormalization"] * channels,
                "use_mask_for_norm": [True] * channels,
                "resampling_fn_data": "resample_data_or_seg_to_shape",
                "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None},
                "architecture": {
                    "network_class_name": f"dynamic_network_architectures.architectures.unet.{kind}",
                    "arch_kwargs": arguments,
                    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
                },
            }
        },
    }


def write_model(
    folder: Path,
    dims: int = 3,
    *,
    labels: dict[str, Any] = REGIONS,
    residual: bool = False,
    folds: int = 1,
    patch: Sequence[int] = (),
    features: Sequence[int] = (4, 8),
    mirrored: tuple[int, ...] | None = None,
    channels: dict[str, str] = CHANNELS,
    plans: dict[str, Any] | None = None,
) -> list[OriginalUNet]:
    """Write a results folder; returns the networks of its folds."""
    patch = patch or (16,) * dims
    mirrored = tuple(range(dims)) if mirrored is None else mirrored
    plans = plans or make_plans(dims, patch, features, residual=residual, channels=len(channels))
    name = next(iter(plans["configurations"]))
    has_regions = any(isinstance(value, list) for value in labels.values())
    dataset: dict[str, Any] = {"channel_names": channels, "labels": labels, "file_ending": ".nii.gz"}
    if has_regions:
        dataset["regions_class_order"] = [2, 1, 3]
    folder = folder / "Dataset001_Tiny" / f"nnUNetTrainer__nnUNetPlans__{name}"
    folder.mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(dataset))
    networks = []
    for fold in range(folds):
        torch.manual_seed(fold)
        network = OriginalUNet(dims, len(channels), len(labels) - has_regions, features, residual).eval()
        for name_, parameter in network.named_parameters():  # nothing of it is 0 or 1 by chance
            if ".norm." in name_:
                nn.init.uniform_(parameter, 0.5, 1.5)
            elif "seg_layers" in name_ and name_.endswith("weight"):
                nn.init.normal_(parameter)
        networks.append(network)
        (folder / f"fold_{fold}").mkdir()
        torch.save(
            {
                "network_weights": network.state_dict(),
                "logging": {"mean_fg_dice": [np.float64(0.5)], "lrs": [0.01]},
                "_best_ema": np.float64(0.25),
                "init_args": {"configuration": name, "fold": fold},
                "trainer_name": "nnUNetTrainer",
                "inference_allowed_mirroring_axes": mirrored or None,
            },
            folder / f"fold_{fold}" / "checkpoint_final.pth",
        )
    return networks


def predict(
    networks: Sequence[OriginalUNet], images: np.ndarray, patch: Sequence[int], mirrored: Sequence[int], softmax: bool
) -> np.ndarray:
    """The label map ``(Z, Y, X)`` that nnU-Net gives for images ``(C, Z, Y, X)`` of the plans' spacing."""
    nonzero = ndimage.binary_fill_holes((images != 0).any(axis=0))
    box = ndimage.find_objects(nonzero.astype(int))[0]
    data, mask = images[(slice(None), *box)].astype(np.float32), nonzero[box]
    for channel in data:
        channel[mask] = (channel[mask] - channel[mask].mean()) / channel[mask].std()
    if len(patch) == 2:
        slices = [_windows(networks, data[:, z], patch, mirrored) for z in range(data.shape[1])]
        logits = np.stack(slices, axis=1)
    else:
        logits = _windows(networks, data, patch, mirrored)
    result = np.zeros(images.shape[1:], dtype=np.uint8)
    if softmax:
        result[box] = logits.argmax(axis=0)
    else:
        for region, label in zip(logits, (2, 1, 3), strict=True):
            result[box][region > 0] = label
    return result


def _windows(
    networks: Sequence[OriginalUNet], data: np.ndarray, patch: Sequence[int], mirrored: Sequence[int]
) -> np.ndarray:
    short = [max(part - size, 0) for part, size in zip(patch, data.shape[1:], strict=True)]
    padded = np.pad(data, [(0, 0), *((gap // 2, gap - gap // 2) for gap in short)])
    spike = np.zeros(patch)
    spike[tuple(part // 2 for part in patch)] = 1
    weights = ndimage.gaussian_filter(spike, [part / 8 for part in patch], mode="constant")
    weights = np.maximum(weights / weights.max(), 1e-8)
    places = []
    for size, part in zip(padded.shape[1:], patch, strict=True):
        count = math.ceil((size - part) / (part / 2)) + 1
        places.append([round((size - part) / max(count - 1, 1) * n) for n in range(count)])
    weight = np.zeros(padded.shape[1:])
    whole: np.ndarray | None = None
    axes = [
        [axis + 2 for axis in chosen]
        for n in range(len(mirrored) + 1)
        for chosen in itertools.combinations(mirrored, n)
    ]
    for corner in itertools.product(*places):
        place = tuple(slice(low, low + part) for low, part in zip(corner, patch, strict=True))
        tile = torch.from_numpy(padded[(slice(None), *place)][None])
        with torch.inference_mode():
            found = [network(tile.flip(a)).flip(a) if a else network(tile) for network in networks for a in axes]
        mean = torch.stack(found).mean(dim=0)[0].numpy()
        if whole is None:
            whole = np.zeros((len(mean), *padded.shape[1:]))
        whole[(slice(None), *place)] += mean * weights
        weight[place] += weights
    assert whole is not None
    crop = tuple(slice(gap // 2, gap // 2 + size) for gap, size in zip(short, data.shape[1:], strict=True))
    return np.asarray((whole / weight)[(slice(None), *crop)])
