"""One patient as nnU-Net predicts it by default, with random weights; needs nnunetv2 and nothing of this project.

``PYTHON -P nnunet_defaults.py model FOLDER`` writes a model folder: the plans that nnU-Net makes for BraTS and a
network of their size. ``PYTHON -P nnunet_defaults.py predict FOLDER SHARE OUT T1 T1CE T2 FLAIR`` predicts with
nnU-Net's own predictor: windows of 128³ voxels by half steps over the full grid, eight mirrorings each, Gaussian
weights, fp32 on a CPU. Only ``SHARE`` of the windows is computed; the last line says in JSON how many, and what they
took, to be scaled up. ``segment_patient`` calls both.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.preprocessing.cropping.cropping import crop_to_nonzero
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

PATCH = [128, 128, 128]
FEATURES = [32, 64, 128, 256, 320, 320]
DATASET: dict[str, Any] = {
    "channel_names": {"0": "T1", "1": "T1ce", "2": "T2", "3": "FLAIR"},
    "labels": {"background": 0, "whole tumour": [1, 2, 3], "tumour core": [2, 3], "enhancing tumour": 3},
    "regions_class_order": [1, 2, 3],
    "file_ending": ".nii.gz",
    "numTraining": 1251,
}


def plans() -> dict[str, Any]:
    """Those of `3d_fullres` for BraTS: 1 mm, 128³, six stages, 31 million parameters."""
    stages = len(FEATURES)
    resampling = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
    network = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": stages,
            "features_per_stage": FEATURES,
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[3, 3, 3]] * stages,
            "strides": [[1, 1, 1]] + [[2, 2, 2]] * (stages - 1),
            "n_conv_per_stage": [2] * stages,
            "n_conv_per_stage_decoder": [2] * (stages - 1),
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
    configuration = {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": PATCH,
        "median_image_size_in_voxels": [140.0, 171.0, 136.0],
        "spacing": [1.0, 1.0, 1.0],
        "normalization_schemes": ["ZScoreNormalization"] * 4,
        "use_mask_for_norm": [True] * 4,
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": {**resampling, "order": 3},
        "resampling_fn_seg_kwargs": {**resampling, "is_seg": True},
        "resampling_fn_probabilities_kwargs": resampling,
        "architecture": network,
        "batch_dice": False,
    }
    return {
        "dataset_name": "Dataset137_BraTS2021",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": [1.0, 1.0, 1.0],
        "original_median_shape_after_transp": [140, 171, 136],
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {"3d_fullres": configuration},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {str(channel): {} for channel in range(4)},
    }


def write_model(folder: Path) -> None:
    """A folder as nnU-Net's training leaves it."""
    torch.manual_seed(0)
    manager = PlansManager(plans())
    configuration = manager.get_configuration("3d_fullres")
    network = nnUNetTrainer.build_network_architecture(
        manager, configuration, 4, len(DATASET["regions_class_order"]), enable_deep_supervision=False
    )
    (folder / "fold_0").mkdir(parents=True)
    for name, values in (("plans", manager.plans), ("dataset", DATASET)):
        (folder / f"{name}.json").write_text(json.dumps(values), encoding="utf-8")
    checkpoint = {
        "trainer_name": "nnUNetTrainer",
        "init_args": {"configuration": "3d_fullres"},
        "inference_allowed_mirroring_axes": (0, 1, 2),
        "network_weights": network.state_dict(),
    }
    torch.save(checkpoint, folder / "fold_0" / "checkpoint_final.pth")
    print(sum(each.numel() for each in network.parameters()), "parameters")


class SomeWindows(nnUNetPredictor):
    """nnU-Net's predictor, but for most of the windows.

    Attributes:
        share: of the windows that is computed; one at least.
        counted: what the windows took.
    """

    share = 1.0
    counted: dict[str, float]

    def _internal_get_sliding_window_slicers(self, image_size: tuple[int, ...]) -> list[Any]:
        slicers = super()._internal_get_sliding_window_slicers(image_size)
        some = slicers[: max(1, round(self.share * len(slicers)))]
        self.counted = {"windows": len(slicers), "computed": len(some)}
        return some

    def predict_sliding_window_return_logits(self, input_image: torch.Tensor) -> torch.Tensor:
        """Timed."""
        wall, used = time.perf_counter(), time.process_time()
        logits = super().predict_sliding_window_return_logits(input_image)
        self.counted |= {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - used}
        return logits

    def windows_of(self, shape: tuple[int, ...]) -> int:
        """How many a grid of that shape has."""
        padded = tuple(max(size, edge) for size, edge in zip(shape, PATCH, strict=True))
        return len(super()._internal_get_sliding_window_slicers(padded))


def predict(model: Path, share: float, output: Path, files: list[str]) -> None:
    """Read, predict, write, and say what the windows took."""
    predictor = SomeWindows(
        tile_step_size=0.5,
        use_gaussian=True,
        use_mirroring=True,
        perform_everything_on_device=False,
        device=torch.device("cpu"),
        allow_tqdm=False,
    )
    predictor.share = share
    predictor.initialize_from_trained_model_folder(str(model), use_folds=(0,))
    images, properties = SimpleITKIO().read_images(files)
    within_brain = predictor.windows_of(crop_to_nonzero(images)[0].shape[1:])
    images[images == 0] = np.finfo(np.float32).tiny  # nothing to crop: the full grid
    predictor.predict_single_npy_array(images, properties, None, str(output).removesuffix(".nii.gz"), False)
    print(json.dumps(predictor.counted | {"windows_in_brain": within_brain}))


if __name__ == "__main__":
    if sys.argv[1] == "model":
        write_model(Path(sys.argv[2]))
    else:
        predict(Path(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4]), sys.argv[5:])
