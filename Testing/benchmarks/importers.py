"""Imported models beside their originals, on real patients: Dice between both label maps.

``python -m Testing.benchmarks.importers nnunet WORK BRATS [NAME…]`` takes the folders that ``nnunet_models`` trained
and predicted in ``WORK`` (with an environment that has nnunetv2), imports each model by ``braintumorseg models add``,
segments the same patients (``WORK/cropped``) by ``braintumorseg segment`` with its settings (mirrorings, steps of half
a window) and prints a line a patient: Dice of every label. ``python -m Testing.benchmarks.importers monai WORK BRATS``
trains a bundle's SegResNet and an Auto3DSeg SegResNetDS for some steps on these patients, and compares them with what
MONAI's own configuration parser, transforms and windows make of them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from BrainTumorSegLib.domain.labels import read_labels, to_regions
from BrainTumorSegLib.io.registry import read_volume

LABELS = {"NCR": 1, "ED": 2, "ET": 3}
# Label in nnU-Net's file of the data set whose name begins so -> here.
CONVENTION = {"regions": {0: 0, 1: 1, 2: 2, 3: 3}, "classes": {0: 0, 1: 2, 2: 1, 3: 3}}
LEAST = 0.995


def dice(found: np.ndarray, wanted: np.ndarray) -> float:
    """Of two masks; 1 where both are empty."""
    size = np.count_nonzero(found) + np.count_nonzero(wanted)
    return 2 * np.count_nonzero(found & wanted) / size if size else 1.0


def braintumorseg(*arguments: str) -> str:
    """The command's output."""
    done = subprocess.run(
        [sys.executable, "-m", "BrainTumorSegLib.cli", *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout


def compare(model: str, case: Path, wanted: np.ndarray, folder: Path, precision: str, *, mirrored: bool) -> float:
    """Segment a case and print the Dice of each label; the least of them."""
    file = folder / model / f"{case.name}.nii.gz"
    file.parent.mkdir(parents=True, exist_ok=True)
    started = time.time()
    tta = ["--tta"] if mirrored else []
    braintumorseg("segment", str(case), "-o", str(file), "--model", model, "--precision", precision, *tta)
    found = read_volume(file).array
    values = {name: dice(found == label, wanted == label) for name, label in LABELS.items()}
    values["whole map"] = dice(found > 0, wanted > 0)
    figures = "  ".join(f"{name} {value:.4f}" for name, value in values.items())
    sizes = "/".join(str(np.count_nonzero(wanted == label)) for label in LABELS.values())
    print(f"{model}  {case.name}  {figures}  voxels {sizes}  {time.time() - started:.0f} s", flush=True)
    return min(values.values())


def nnunet(work: Path, brats: Path, names: list[str]) -> None:
    """Every model of ``nnunet_models``."""
    results = {folder.name.partition("_")[2]: folder for folder in (work / "results").iterdir()}
    least = 1.0
    for name in names or sorted(results):
        braintumorseg("models", "add", str(results[name]), "--id", name)
        table = CONVENTION[name.partition("-")[0]]
        for file in sorted((work / "predicted" / name).glob("*.nii.gz")):
            values = read_volume(file).array
            wanted = np.vectorize(table.__getitem__)(values.astype(int))
            least = min(
                least,
                compare(name, brats / file.name.removesuffix(".nii.gz"), wanted, work / "here", "fp32", mirrored=True),
            )
    say(least)


def monai(work: Path, brats: Path, names: list[str]) -> None:
    """A bundle and an Auto3DSeg model."""
    import torch

    from Testing import monai_samples as made

    cases = sorted(brats.iterdir())
    least = 1.0
    config = {**made.BUNDLE, "spatial_size": [96, 80, 64]}
    config["inferer"] = {**config["inferer"], "mode": "gaussian"}
    auto = made.auto3dseg_config(roi_size=[96, 96, 64])
    folder = Path(tempfile.mkdtemp(dir=work))
    bundle = made.write_bundle(folder / "bundle", config)
    trained(bundle, cases, made.ORDER, ("TC", "WT", "ET"))
    torch.save(bundle.state_dict(), folder / "bundle" / "models" / "model.pt")
    network = made.write_auto3dseg(folder / "model.pt", auto)
    trained(network, cases, made.AUTO_ORDER, ("WT", "TC", "ET"))
    torch.save({"state_dict": network.state_dict(), "config": auto}, folder / "model.pt")
    braintumorseg("models", "add", str(folder / "bundle"), "--id", "bundle")
    braintumorseg(
        "models", "add", str(folder / "model.pt"), "--id", "auto3dseg", "--channels", ",".join(made.AUTO_ORDER)
    )
    for case in cases:
        files = {name: case / f"{case.name}_{name}.nii.gz" for name in made.ORDER}
        wanted = made.run_bundle(config, bundle, [files[name] for name in made.ORDER])
        least = min(least, compare("bundle", case, wanted, work / "here", "fp32", mirrored=False))
        wanted = made.run_auto3dseg(auto, network, [files[name] for name in made.AUTO_ORDER])
        least = min(least, compare("auto3dseg", case, wanted, work / "here", "fp32", mirrored=False))
    say(least)


def trained(network: Any, cases: list[Path], order: Sequence[str], regions: Sequence[str], steps: int = 30) -> None:
    """Train in place, on random patches with tumour in them."""
    import torch

    rng = np.random.default_rng(0)
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    data = []
    for case in cases:
        images = np.stack([read_volume(case / f"{case.name}_{name}.nii.gz").array for name in order]).astype(np.float32)
        for channel in images:
            inside = channel != 0
            channel[inside] = (channel[inside] - channel[inside].mean()) / channel[inside].std()
        labels = read_labels(read_volume(case / f"{case.name}_seg.nii.gz").array)
        masks = to_regions(labels)
        # MONAI's arrays have x first.
        data.append((images.transpose(0, 3, 2, 1), np.stack([masks[name] for name in regions]).transpose(0, 3, 2, 1)))
    network.train()
    for step in range(steps):
        values, truth = data[step % len(data)]
        low = [rng.integers(0, size - 32 + 1) for size in values.shape[1:]]
        part = (slice(None), *(slice(first, first + 32) for first in low))
        logits = network(torch.from_numpy(values[part][None].copy()))
        logits = logits[0] if isinstance(logits, list | tuple) else logits
        target = torch.from_numpy(truth[part][None].astype(np.float32))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, target, pos_weight=torch.tensor(3.0))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    print(f"trained {steps} steps, last loss {loss.item():.3f}", flush=True)
    network.eval()


def say(least: float) -> None:
    """The verdict."""
    print(f"least Dice {least:.4f}: {'equal' if least >= LEAST else 'NOT EQUAL'} (line {LEAST})")


def main() -> None:
    """See the module."""
    kind, work, brats, *names = sys.argv[1:]
    os.environ["BRAINTUMORSEG_HOME"] = str(Path(work) / "home")
    {"nnunet": nnunet, "monai": monai}[kind](Path(work), Path(brats), names)


if __name__ == "__main__":
    main()
