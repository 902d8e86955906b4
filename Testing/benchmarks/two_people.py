"""Are sequences of one person told from those of two? ``python -m Testing.benchmarks.two_people FOLDER…``

Each folder holds the sequences of one person as NIfTI files, stripped or not; label maps are left out. One of them
(T1ce where there is one) stays; the person's others, and some of the next person's, are registered to it within its
brain. Printed are local correlation and stretch of each pair, and how many of either kind are refused. Folders whose
images are stripped are only paired with such folders.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.io.registry import read_volume
from BrainTumorSegLib.preprocessing.alignment import FAILED, POOR, STRETCHED
from BrainTumorSegLib.preprocessing.appearance import HEAD, appearance
from BrainTumorSegLib.preprocessing.brain_extraction import extract_brain
from BrainTumorSegLib.preprocessing.registration import Registration, register

# Of the next person's sequences.
_STRANGERS = 2


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


def compare(person: Person, others: dict[str, Volume]) -> list[Registration]:
    """Each image registered to the person's."""
    moves = []
    for name, volume in others.items():
        move = register(volume, person.fixed, person.brain, skull=person.skull)
        print(f"{person.name}, {name}: local correlation {move.quality:.2f}, stretch {move.stretch:.3f}", flush=True)
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


def main() -> None:
    """Measure and print."""
    p = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    p.add_argument("folders", type=Path, nargs="+")
    people = [read(folder) for folder in p.parse_args().folders]
    right = [move for person in people for move in compare(person, person.others)]
    wrong: list[Registration] = []
    for skull in (True, False):
        alike = [person for person in people if person.skull == skull]
        for person, other in itertools.pairwise([*alike, *alike[:1]] if len(alike) > 1 else []):
            wrong += compare(person, dict(list(other.others.items())[:_STRANGERS]))
    print_pairs("one person", right)
    print_pairs("two people", wrong)


if __name__ == "__main__":
    main()
