"""Are sequences of one person told from those of two? ``python -m Testing.benchmarks.two_people FOLDER… [--lgg LGG]``

Each folder holds the sequences of one person as NIfTI files, stripped or not; label maps are left out. One of them
(T1ce where there is one) stays; the person's others, and some of the next person's, are registered to it within its
brain. Printed are local correlation and stretch of each pair, and how many of either kind are refused. Folders whose
images are stripped are only paired with such folders. ``--lgg`` adds training patients of the LGG set, heads of thick
slices that lie over each other: for them, how many are moved all the same is printed, too.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from BrainTumorSegLib.domain.grid import Grid
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.io.registry import read_volume
from BrainTumorSegLib.preprocessing.alignment import FAILED, POOR, STRETCHED
from BrainTumorSegLib.preprocessing.appearance import HEAD, appearance
from BrainTumorSegLib.preprocessing.brain_extraction import extract_brain
from BrainTumorSegLib.preprocessing.registration import Registration, register
from BrainTumorSegLib.preprocessing.resampling import onto
from Training.brain_extraction.heads import is_whole, lgg_masks, read_lgg

# Of the next person's sequences.
_STRANGERS = 2
# Every so many of the LGG set's training patients.
_EVERY = 6


@dataclass(frozen=True)
class Person:
    """A folder: the image that stays, its brain, the others by name, and whether the head is around it."""

    name: str
    fixed: Volume
    brain: np.ndarray
    others: dict[str, Volume]
    skull: bool


def read(folder: Path) -> Person:
    """The images of a person."""
    files = sorted(file for file in folder.glob("*.nii*") if not file.name.split(".")[0].endswith("seg"))
    files.sort(key=lambda file: "t1ce" not in file.name.lower())
    fixed, *others = (read_volume(file) for file in files)
    skull = appearance(fixed) == HEAD
    brain = extract_brain(fixed, "included").mask if skull else fixed.array != 0
    names = [file.name.split(".")[0] for file in files[1:]]
    return Person(folder.name, fixed, brain, dict(zip(names, others, strict=True)), skull)


def read_stacks(folder: Path) -> list[Person]:
    """Some training patients of the LGG set with all three of its sequences, over the whole head."""
    split = json.loads((folder / "split.json").read_text(encoding="utf-8"))
    people = []
    for file in lgg_masks(folder / "brain_masks", sorted(split["train"]))[::_EVERY]:
        stack = read_lgg(folder, file.name.removesuffix("_brain.nii.gz"))
        if len(stack.images) < 3 or not is_whole(stack):
            continue
        volumes = {sequence: stack.volume(sequence) for sequence in stack.images}
        fixed = volumes.pop("t1ce")
        mask = read_volume(file)
        brain = onto((mask.array > 0).astype(np.float32), Grid.of(mask), Grid.of(fixed)) >= 0.5
        people.append(Person(stack.patient, fixed, brain, volumes, True))
    return people


def compare(person: Person, others: dict[str, Volume]) -> list[Registration]:
    """Each image registered to the person's."""
    moves = []
    for name, volume in others.items():
        move = register(volume, person.fixed, person.brain, skull=person.skull)
        figures = f"local correlation {move.before:.2f} before, {move.quality:.2f} after {move.displacement_mm:.1f} mm"
        print(f"{person.name}, {name}: {figures}, stretch {move.stretch:.3f}", flush=True)
        moves.append(move)
    return moves


def print_pairs(who: str, pairs: Sequence[Registration]) -> None:
    """The range of both figures, and what would be said of the pairs."""
    if not pairs:
        return
    refused = [pair.quality < FAILED or pair.stretch > STRETCHED for pair in pairs]
    warned = sum(pair.quality < POOR and not gone for pair, gone in zip(pairs, refused, strict=True))
    quality, stretch = [pair.quality for pair in pairs], [pair.stretch for pair in pairs]
    print(
        f"{who}: {len(pairs)} pairs, local correlation {min(quality):.2f} to {max(quality):.2f}, stretch"
        f" {min(stretch):.3f} to {max(stretch):.3f}; {sum(refused)} refused, {warned} more warned of"
    )


def compare_all(what: str, *groups: Sequence[Person]) -> list[Registration]:
    """All people with themselves, which is returned, and within a group each with the next; the sums are printed."""
    right = [move for group in groups for person in group for move in compare(person, person.others)]
    wrong: list[Registration] = []
    for group in groups:
        for person, other in itertools.pairwise([*group, *group[:1]] if len(group) > 1 else []):
            wrong += compare(person, dict(list(other.others.items())[:_STRANGERS]))
    print_pairs(f"{what}, one person", right)
    print_pairs(f"{what}, two people", wrong)
    return right


def main() -> None:
    """Measure and print."""
    p = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    p.add_argument("folders", type=Path, nargs="*")
    p.add_argument("--lgg", type=Path, help="folder of the LGG set")
    arguments = p.parse_args()
    if not arguments.folders and not arguments.lgg:
        p.error("give folders, or --lgg")
    people = [read(folder) for folder in arguments.folders]
    compare_all("folders", [person for person in people if person.skull], [p for p in people if not p.skull])
    if arguments.lgg:
        right = compare_all("LGG", read_stacks(arguments.lgg))
        print(f"LGG, one person: {sum(move.displacement_mm > 0 for move in right)} of {len(right)} are moved")


if __name__ == "__main__":
    main()
