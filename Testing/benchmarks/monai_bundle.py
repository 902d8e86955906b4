"""One patient the way that the MONAI bundle ``brats_mri_segmentation`` goes, with random weights.

``python -m Testing.benchmarks.monai_bundle T1CE T1 T2 FLAIR OUT.nii.gz``: its transforms, its network (SegResNet with
16 filters), its one window of 240 × 240 × 160 voxels with an overlap of a half, in fp32. ``segment_patient`` times it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer
from monai.networks.nets import SegResNet
from monai.transforms import AsDiscrete, Compose, LoadImaged, NormalizeIntensityd, SaveImage

WINDOW = (240, 240, 160)


def network() -> SegResNet:
    """The bundle's, not trained: what it computes is as much work."""
    torch.manual_seed(0)
    net = SegResNet(
        blocks_down=(1, 2, 2, 4), blocks_up=(1, 1, 1), init_filters=16, in_channels=4, out_channels=3, dropout_prob=0.2
    )
    return net.eval()


def main(files: list[str], output: Path) -> None:
    """Read, normalise, predict, write."""
    prepare = Compose([LoadImaged("image"), NormalizeIntensityd("image", nonzero=True, channel_wise=True)])
    image = prepare({"image": files})["image"]
    infer = SlidingWindowInferer(roi_size=WINDOW, sw_batch_size=1, overlap=0.5)
    with torch.inference_mode():
        regions = AsDiscrete(threshold=0.5)(torch.sigmoid(infer(image[None], network())[0]))
    core, whole, enhancing = (regions[i : i + 1] > 0 for i in range(3))
    labels = torch.where(enhancing, 4, torch.where(core, 1, torch.where(whole, 2, 0)))
    save = SaveImage(output_dtype="uint8", resample=False, separate_folder=False, output_ext="", print_log=False)
    save(MetaTensor(labels, meta=image.meta), filename=output)


if __name__ == "__main__":
    main(sys.argv[1:5], Path(sys.argv[5]))
