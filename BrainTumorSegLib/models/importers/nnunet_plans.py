"""What nnU-Net v2's ``plans.json`` says of a network and its images, as this program says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...domain.errors import CheckpointError
from ..description import NetworkSpec, PreprocessingSpec, TilingSpec
from .foreign_files import Fields, is_count
from .wishes import Wishes

_NORMALISATIONS = {
    "ZScoreNormalization": "zscore_box",
    "CTNormalization": "window",
    "NoNormalization": "none",
    "RescaleTo01Normalization": "rescale",
}
_RESAMPLING = ("resample_data_or_seg_to_shape", "resample_data_or_seg_to_spacing")
# Readers that leave the axes as the file has them, and one that turns them.
_READERS = {"SimpleITKIO": "", "NibabelIO": "", "NibabelIOWithReorient": "RAS", "SimpleITKIOWithReorient": "RAS"}
_OTHERS = "Export a model of nnU-Net's own configurations, or ask for this one to be supported."


@dataclass(frozen=True)
class Configuration:
    """One configuration of the plans, what it inherits filled in."""

    name: str
    fields: Fields
    plans: Fields

    @classmethod
    def of(cls, plans: Fields, name: str) -> Configuration:
        """That of this name.

        Raises:
            CheckpointError: there is none, or it is the second stage of a cascade.
        """
        table, wanted = plans.inner("configurations"), name
        values: dict[str, Any] = {}
        seen: set[str] = set()
        while wanted not in seen:
            seen.add(wanted)
            found = table.inner(wanted)
            values = found.values | values
            wanted = found.text("inherits_from", wanted)
        fields = Fields(values, f"{plans.where} ({name})")
        if values.get("previous_stage"):
            raise CheckpointError(f"{fields.where} is the second stage of a cascade, which is not known here.", _OTHERS)
        if fields.text("preprocessor_name", "DefaultPreprocessor") != "DefaultPreprocessor":
            raise CheckpointError(f"{fields.where} has its images prepared in a way of its own.", _OTHERS)
        if plans.text("label_manager", "LabelManager") != "LabelManager":
            raise CheckpointError(f"{plans.where} has labels of a kind of its own.", _OTHERS)
        return cls(name, fields, plans)

    @property
    def dimensions(self) -> int:
        """2 or 3."""
        return len(self.patch)

    @property
    def patch(self) -> tuple[int, ...]:
        """Voxels along the network's axes."""
        patch = self.fields.counts("patch_size")
        if len(patch) not in (2, 3):
            raise self.fields.wrong("patch_size", "two or three numbers")
        return tuple(patch)

    def network(self) -> NetworkSpec:
        """The architecture.

        Raises:
            CheckpointError: it is another than PlainConvUNet and ResidualEncoderUNet.
        """
        kind, a = self._architecture()
        if kind not in ("PlainConvUNet", "ResidualEncoderUNet"):
            raise CheckpointError(
                f"{self.fields.where} has the network {kind!r}; known are PlainConvUNet and ResidualEncoderUNet.",
                _OTHERS,
            )
        residual = kind == "ResidualEncoderUNet"
        if a.flag("nonlin_first", False) or a.values.get("dropout_op") or a.values.get("bottleneck_channels"):
            raise CheckpointError(f"{a.where} has layers in another order, dropout or bottlenecks.", _OTHERS)
        if a.values.get("block", "BasicBlockD") not in ("BasicBlockD", None) and not str(a.values["block"]).endswith(
            "D"
        ):
            raise CheckpointError(f"{a.where} has blocks that are not known here.", _OTHERS)
        features, stages = a.counts("features_per_stage"), len(a.counts("features_per_stage"))
        stem = a.values.get("stem_channels")
        if stem is not None and stem != features[0]:
            raise CheckpointError(f"{a.where} has a stem of another width.", _OTHERS)
        norm = a.text("norm_op").rpartition(".")[2]
        if not norm.startswith(("InstanceNorm", "BatchNorm")):
            raise CheckpointError(f"{a.where} has the normalisation {norm!r}.", _OTHERS)
        options = _optional(a, "norm_op_kwargs")
        if not options.flag("affine", True):
            raise CheckpointError(f"{options.where} has no weights.", _OTHERS)
        return NetworkSpec(
            "nnunet",
            {
                "features": features,
                "kernels": self._per_stage(a, "kernel_sizes", stages),
                "strides": self._per_stage(a, "strides", stages),
                "encoder": _counted(a, "n_blocks_per_stage" if residual else "n_conv_per_stage", stages),
                "decoder": _counted(a, "n_conv_per_stage_decoder", stages - 1),
                "residual": residual,
                "bias": a.flag("conv_bias", False),
                "norm": "instance" if norm.startswith("Instance") else "batch",
                "eps": options.number("eps", 1e-5),
                "slope": _slope(a),
            },
        )

    def _architecture(self) -> tuple[str, Fields]:
        """Class and arguments, also where plans of before version 2.3 say them in another way."""
        if "architecture" in self.fields:
            found = self.fields.inner("architecture")
            return found.text("network_class_name").rpartition(".")[2], found.inner("arch_kwargs")
        old = self.fields
        kind = old.text("UNet_class_name")
        stages = len(old.counts("n_conv_per_stage_encoder"))
        base, most = old.number("UNet_base_num_features"), old.number("unet_max_num_features")
        values: dict[str, Any] = {
            "features_per_stage": [int(min(base * 2**number, most)) for number in range(min(stages, 64))],
            "kernel_sizes": old.values.get("conv_kernel_sizes"),
            "strides": old.values.get("pool_op_kernel_sizes"),
            "n_conv_per_stage_decoder": old.values.get("n_conv_per_stage_decoder"),
            "conv_bias": True,
            "norm_op": "InstanceNorm",
            "nonlin": "LeakyReLU",
        }
        blocks = "n_conv_per_stage" if kind == "PlainConvUNet" else "n_blocks_per_stage"
        return kind, Fields(values | {blocks: old.values.get("n_conv_per_stage_encoder")}, old.where)

    def _per_stage(self, a: Fields, key: str, stages: int) -> list[list[int]]:
        """A number along each axis for every stage."""
        found = [
            [item] * self.dimensions if is_count(item) else item for item in a.list_of(key, lambda _: True, "numbers")
        ]
        right = (isinstance(item, list) and len(item) == self.dimensions and all(map(is_count, item)) for item in found)
        if len(found) != stages or not all(right):
            raise a.wrong(key, f"{self.dimensions} numbers for each of {stages} stages")
        return found

    def preprocessing(self, wishes: Wishes) -> PreprocessingSpec:
        """Grid and intensities.

        Raises:
            CheckpointError: they are such as cannot be said here; names the first.
        """
        order = self.plans.counts("transpose_forward") if "transpose_forward" in self.plans else [0, 1, 2]
        if sorted(order) != [0, 1, 2]:
            raise self.plans.wrong("transpose_forward", "an order of three axes")
        axes = _reader_orientation(self.plans, wishes)[::-1]
        spacing = self.fields.numbers("spacing")
        if len(spacing) != self.dimensions:
            raise self.fields.wrong("spacing", f"{self.dimensions} numbers")
        schemes = self.fields.list_of("normalization_schemes", lambda item: isinstance(item, str), "names")
        masked = self.fields.list_of("use_mask_for_norm", lambda item: isinstance(item, bool), "true or false")
        if not schemes or len(set(schemes)) > 1 or len(set(masked)) > 1 or len(masked) != len(schemes):
            raise CheckpointError(f"{self.fields.where} normalises its channels in different ways.", _OTHERS)
        if schemes[0] not in _NORMALISATIONS:
            raise CheckpointError(f"{self.fields.where} has the normalisation {schemes[0][:80]!r}.", _OTHERS)
        method = _NORMALISATIONS[schemes[0]]
        if method == "zscore_box" and masked[0]:
            method = "zscore_nonzero"
        return PreprocessingSpec(
            orientation="".join(axes[axis] for axis in order)[::-1],
            spacing=(0.0, *spacing) if len(spacing) == 2 else tuple(spacing),  # type: ignore[arg-type]
            normalisation=method,
            brain=wishes.brain or ("extracted" if masked[0] else "head"),
            intensities=self._windows(len(schemes)) if method == "window" else (),
            interpolation=self._interpolation(),
        )

    def _windows(self, channels: int) -> tuple[tuple[float, float, float, float], ...]:
        table = self.plans.inner("foreground_intensity_properties_per_channel")
        found = [table.inner(str(channel)) for channel in range(channels)]
        keys = ("percentile_00_5", "percentile_99_5", "mean", "std")
        return tuple(tuple(each.number(key) for key in keys) for each in found)  # type: ignore[misc]

    def _interpolation(self) -> str:
        name = self.fields.text("resampling_fn_data", _RESAMPLING[0])
        options = _optional(self.fields, "resampling_fn_data_kwargs")
        if name not in _RESAMPLING or options.number("order", 3) != 3:
            raise CheckpointError(f"{self.fields.where} resamples its images by {name!r} of another order.", _OTHERS)
        # By default nnU-Net takes the nearest slice where voxels are more than three times as long as wide.
        always = options.flag("force_separate_z") if "force_separate_z" in options else None
        across = options.number("order_z") if "order_z" in options else 0
        if always or (always is None and across != 0):
            raise CheckpointError(
                f"{self.fields.where} resamples its images across slices in another way than along them.", _OTHERS
            )
        return "cubic"

    def tiling(self, mirrored: Any) -> TilingSpec:
        """Patch, steps of half a window as nnU-Net takes, and the axes that a checkpoint names."""
        axes = "zyx"[-self.dimensions :]
        allowed = [] if mirrored is None else mirrored
        if not isinstance(allowed, list | tuple) or not all(is_count(axis) and axis < len(axes) for axis in allowed):
            raise CheckpointError(f"{self.fields.where}: its checkpoint mirrors along {str(mirrored)[:60]!r}.", _OTHERS)
        return TilingSpec(self.patch, windows="nnunet", mirrored="".join(axes[axis] for axis in sorted(set(allowed))))


def _reader_orientation(plans: Fields, wishes: Wishes) -> str:
    """Axes of the images as they were read; those of BraTS where the reader leaves them and nobody says."""
    reader = plans.text("image_reader_writer", "SimpleITKIO")
    if reader not in _READERS:
        raise CheckpointError(f"{plans.where} reads its images with {reader[:80]!r}.", _OTHERS)
    return _READERS[reader] or wishes.axes()


def _optional(fields: Fields, key: str) -> Fields:
    return fields.inner(key) if key in fields else Fields({}, f"{fields.where} ({key})")


def _counted(a: Fields, key: str, stages: int) -> list[int]:
    """A count for every stage."""
    if is_count(a.values.get(key)):
        return [a.values[key]] * stages
    found: list[int] = a.counts(key)
    if len(found) != stages:
        raise a.wrong(key, f"{stages} numbers")
    return found


def _slope(a: Fields) -> float:
    """Of the leaky ReLU."""
    name = a.text("nonlin").rpartition(".")[2]
    if name not in ("LeakyReLU", "ReLU"):
        raise CheckpointError(f"{a.where} has the activation {name!r}.", _OTHERS)
    return _optional(a, "nonlin_kwargs").number("negative_slope", 0.01) if name == "LeakyReLU" else 0.0


def labels_of(dataset: Fields) -> tuple[Mapping[str, Any], list[int]]:
    """The labels of ``dataset.json`` but the background and what is ignored, and the order of regions.

    Raises:
        CheckpointError: they are none.
    """
    table = dataset.inner("labels").values
    if table.get("background") != 0 or len(table) > 64:
        raise dataset.wrong("labels", "a background of 0 and at most 63 labels")
    found = {name: value for name, value in table.items() if name not in ("background", "ignore")}
    for name, value in found.items():
        numbers = value if isinstance(value, list) else [value]
        if not numbers or len(numbers) > 64 or not all(is_count(number) and number > 0 for number in numbers):
            raise dataset.wrong("labels", f"whole numbers for {name[:80]!r}")
    order = dataset.counts("regions_class_order") if "regions_class_order" in dataset else []
    return found, order
