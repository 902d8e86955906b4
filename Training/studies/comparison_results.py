"""What a comparison of networks measures, and its table."""

from __future__ import annotations

import csv
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from BrainTumorSegLib.domain.case import Case
from BrainTumorSegLib.domain.errors import InputError
from BrainTumorSegLib.domain.grid import Grid, reorient
from BrainTumorSegLib.domain.modalities import FLAIR, T1, T1CE, T2
from BrainTumorSegLib.domain.options import RunOptions
from BrainTumorSegLib.domain.text_table import spreadsheet_cell
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.evaluation import Settings
from BrainTumorSegLib.evaluation.metrics import Summary, summarise
from BrainTumorSegLib.evaluation.pairs import compare_volumes
from BrainTumorSegLib.evaluation.results import CaseResult, Evaluation, Measures
from BrainTumorSegLib.evaluation.tables import BRATS_MEASURES, brats_lines, exact, markdown
from BrainTumorSegLib.inference.pipeline import segment_case
from BrainTumorSegLib.models.checkpoint_file import Checkpoint
from BrainTumorSegLib.report.figures.views import ORIENTATION, on_grid

from ..datasets.case import UNKNOWN_LABEL, LabelledCase
from ..export import compare_known

SETTINGS = Settings(measures=("dice", "iou", "sensitivity", "specificity"))
# Of the table that BraTS papers print.
BRATS_SETTINGS = Settings(measures=(*BRATS_MEASURES, "dice"))
# The sequence on which a whole tumour is seen best comes first.
_SHOWN_ON = (FLAIR, T2, T1CE, T1)

Lines = list[list[str]]


@dataclass(frozen=True)
class Network:
    """One trained network.

    Attributes:
        name: as tables and figures call it.
        checkpoint: as exported.
        log: the rows of its training log, column → value; what a row lacks is NaN.
    """

    name: str
    checkpoint: Checkpoint
    log: tuple[Mapping[str, float], ...]

    @property
    def id(self) -> str:
        """Of its recipe."""
        return self.checkpoint.description.id


@dataclass(frozen=True)
class Example:
    """The axial slice of a patient that has most tumour, as radiologists see it; arrays are ``(Y, X)``.

    Attributes:
        patient: whose.
        sequence: which image is shown.
        level, levels: which of how many slices, from 0, counted from the feet.
        image: grey values.
        truth: labels of the reference, 255 where nothing is known.
        found: network id → its labels.
        spacing: ``(y, x)`` in mm.
    """

    patient: str
    sequence: str
    level: int
    levels: int
    image: np.ndarray
    truth: np.ndarray
    found: Mapping[str, np.ndarray]
    spacing: tuple[float, float]


@dataclass(frozen=True)
class Results:
    """The networks on the same patients.

    Attributes:
        measures: network id → patient → region → measure → value.
        seconds: network id → seconds a slice.
        examples: one a patient.
        device: what computed, in words.
        surfaces: network id → patient → what BraTS papers print; empty where that was not asked for.
    """

    measures: Mapping[str, Mapping[str, Measures]]
    seconds: Mapping[str, float]
    examples: tuple[Example, ...]
    device: str
    surfaces: Mapping[str, Mapping[str, CaseResult]] = field(default_factory=dict)


def read_log(file: Path) -> tuple[dict[str, float], ...]:
    """The rows that a run wrote.

    Raises:
        InputError: missing, or not such a file.
    """
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            rows = [{name: float(v or "nan") for name, v in row.items()} for row in csv.DictReader(lines)]
        missing = {"step", "seconds"} - set(rows[-1])
    except (OSError, ValueError, TypeError, AttributeError, IndexError, csv.Error) as error:
        raise InputError(f"{file} is no training log ({error}).", "It belongs to the run; train again.") from error
    if missing:
        raise InputError(f"{file} has no column {', '.join(sorted(missing))}.", "It belongs to the run; train again.")
    return tuple(rows)


def measure(
    networks: Sequence[Network], cases: Sequence[LabelledCase], *, device: str = "auto", surfaces: bool = False
) -> Results:
    """Segment every patient with every network through the engine, as a user gets it.

    The networks take turns, patient by patient, so that what else the machine does slows all of them alike. Voxels
    of which nothing is known do not count. Seconds a slice are the median over the patients: images given, label map
    wanted, so preparation and building the network are in it. ``surfaces`` adds what BraTS papers print, with distances
    of surfaces.

    Raises:
        InputError: distances are asked for, and of some voxels of a reference nothing is known.
    """
    from tqdm import tqdm

    measures: dict[str, dict[str, Measures]] = {network.id: {} for network in networks}
    seconds: dict[str, list[float]] = {network.id: [] for network in networks}
    papers: dict[str, dict[str, CaseResult]] = {network.id: {} for network in networks if surfaces}
    examples, devices = [], set()
    for labelled in tqdm(cases, desc="Measuring", leave=False, disable=not sys.stderr.isatty()):
        case, reference = labelled.load()
        found: dict[str, Volume] = {}
        if surfaces and (reference.array == UNKNOWN_LABEL).any():
            raise InputError(f"Of {labelled.id} only some slices are annotated.", "Leave --brats-table out.")
        slices = Grid.of(reference).oriented(ORIENTATION).shape[0]
        for network in networks:
            began = time.perf_counter()
            result = segment_case(case, network.checkpoint, RunOptions(device=device))
            seconds[network.id].append((time.perf_counter() - began) / slices)
            found[network.id] = result.labels
            measures[network.id][labelled.id] = measure_labels(result.labels.array, reference.array)
            if surfaces:
                papers[network.id][labelled.id] = compare_volumes(
                    labelled.id, result.labels.array, reference.array, reference.spacing, BRATS_SETTINGS
                )
            devices.add(f"{result.provenance['device']}, {result.provenance['precision']}")
        examples.append(example_of(labelled.id, case, reference, found))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return Results(measures, medians, tuple(examples), "; ".join(sorted(devices)), papers)


def measure_labels(prediction: np.ndarray, reference: np.ndarray) -> Measures:
    """Region → measure → value of two label maps ``(Z, Y, X)``, over all voxels of which something is known."""
    return compare_known(prediction, reference, SETTINGS)


def example_of(patient: str, case: Case, reference: Volume, found: Mapping[str, Volume]) -> Example:
    """The slice with most tumour in the reference; the middle one where there is none."""
    grid = Grid.of(reference).oriented(ORIENTATION)
    truth = reorient(reference.array, reference.affine, ORIENTATION)
    sizes = ((truth > 0) & (truth != UNKNOWN_LABEL)).sum(axis=(1, 2))
    level = int(np.argmax(sizes)) if sizes.any() else len(sizes) // 2
    sequence = next(name for name in _SHOWN_ON if name in case.images)
    return Example(
        patient=patient,
        sequence=sequence,
        level=level,
        levels=len(sizes),
        image=on_grid(case.images[sequence], grid)[level].copy(),
        truth=truth[level].copy(),
        found={name: reorient(v.array, v.affine, ORIENTATION)[level].copy() for name, v in found.items()},
        spacing=(grid.spacing[1], grid.spacing[2]),
    )


def outermost(networks: Sequence[Network]) -> str:
    """The largest region that the networks give: the one by which patients are ranked."""
    return networks[0].checkpoint.description.regions[-1]


def best_median_worst(results: Results, region: str) -> dict[str, Example]:
    """Rank → example of the patients with the highest, middle and lowest mean Dice over the networks.

    Patients without tumour in the reference are passed over while there are others; a patient appears once.
    """
    shown = [e for e in results.examples if ((e.truth > 0) & (e.truth != UNKNOWN_LABEL)).any()]
    tables = results.measures.values()
    mean = {e.patient: float(np.mean([t[e.patient][region]["dice"] for t in tables])) for e in results.examples}
    ranked = sorted(shown or results.examples, key=lambda e: (-mean[e.patient], e.patient))
    chosen: dict[int, str] = {}
    for rank, place in (("Best", 0), ("Worst", len(ranked) - 1), ("Median", len(ranked) // 2)):
        chosen.setdefault(place, rank)
    return {chosen[place]: ranked[place] for place in sorted(chosen)}


@dataclass(frozen=True)
class Row:
    """A line of the table: one network in one region.

    Attributes:
        summaries: measure → its summary over the patients.
        parameters: of the network.
        seconds_per_slice: see :func:`measure`.
        steps, measured_step: trained, and those of the state that was exported and measured.
        training_seconds: as the training log has it.
        mean_iou: mean over the network's regions, then over the patients; the same in each of its rows.
    """

    network: Network
    region: str
    summaries: Mapping[str, Summary]
    parameters: int
    seconds_per_slice: float
    steps: int
    measured_step: int
    training_seconds: float
    mean_iou: float


def table(networks: Sequence[Network], results: Results) -> list[Row]:
    """All rows, in the order of the networks."""
    rows = []
    for network in networks:
        description = network.checkpoint.description
        parameters = sum(parameter.numel() for parameter in network.checkpoint.build().parameters())
        patients = results.measures[network.id].values()
        mean_iou = float(np.mean([[p[region]["iou"] for region in description.regions] for p in patients]))
        for region in reversed(description.regions):
            rows.append(
                Row(
                    network=network,
                    region=region,
                    summaries={m: summarise([p[region][m] for p in patients]) for m in SETTINGS.measures},
                    parameters=parameters,
                    seconds_per_slice=results.seconds[network.id],
                    steps=int(network.log[-1]["step"]),
                    measured_step=description.training.steps,
                    training_seconds=network.log[-1]["seconds"],
                    mean_iou=mean_iou,
                )
            )
    return rows


def csv_lines(rows: Sequence[Row]) -> Lines:
    """For programs: eight figures."""
    statistics_of = {
        "dice": ("mean", "sd", "median", "q25", "q75"), "iou": ("mean", "sd"), "sensitivity": ("mean",),
        "specificity": ("mean",),
    }  # fmt: skip
    names = [(measure, statistic) for measure, some in statistics_of.items() for statistic in some]
    last = ["mean_iou", "seconds_per_slice", "steps", "measured_step", "training_seconds"]
    head = ["id", "network", "region", "parameters", "patients", *(f"{m}_{s}" for m, s in names), *last]
    lines = [head]
    for r in rows:
        numbers = [f"{getattr(r.summaries[m], s):.8g}" for m, s in names]
        ends = [f"{getattr(r, name):.8g}" for name in last]
        dice = r.summaries["dice"]
        lines.append([r.network.id, r.network.name, r.region, str(r.parameters), str(dice.n), *numbers, *ends])
    return lines


def markdown_lines(rows: Sequence[Row]) -> Lines:
    """For people: rounded, quartiles as a range; the region only where there are several."""
    several = len({r.region for r in rows}) > 1
    early = any(r.measured_step != r.steps for r in rows)
    head = ["network", *["region"] * several, "parameters", "Dice mean", "sd", "median", "quartiles", "IoU",
            *["mIoU"] * several, "sensitivity", "specificity", "seconds a slice", "steps", *["best step"] * early,
            "training, min"]  # fmt: skip
    lines = [head]
    for r in rows:
        dice = r.summaries["dice"]
        numbers = [f"{v:.3f}" for v in (dice.mean, dice.sd, dice.median)] + [f"{dice.q25:.3f} to {dice.q75:.3f}"]
        numbers += [f"{r.summaries['iou'].mean:.3f}", *[f"{r.mean_iou:.3f}"] * several]
        numbers += [f"{r.summaries['sensitivity'].mean:.3f}"]
        numbers += [f"{r.summaries['specificity'].mean:.4f}", f"{r.seconds_per_slice:.3g}"]
        parameters = f"{r.parameters / 1e6:.2f} M" if r.parameters >= 1e5 else str(r.parameters)
        ends = [str(r.steps), *[str(r.measured_step)] * early, f"{r.training_seconds / 60:.1f}"]
        lines.append([r.network.name, *[r.region] * several, parameters, *numbers, *ends])
    return lines


def write_csv(lines: Lines, path: Path) -> None:
    """The lines as they are."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([spreadsheet_cell(cell) for cell in line] for line in lines)


def write_markdown(tables: Sequence[Lines], notes: Sequence[str], path: Path) -> None:
    """Tables, and what there is to know of them below."""
    text = "\n".join([*map(markdown, tables), "".join(f"- {note}\n" for note in notes)])
    path.write_text(text, encoding="utf-8")


def paper_lines(networks: Sequence[Network], results: Results, *, rounded: bool = False) -> Lines:
    """Mean, standard deviation, median and quartiles as BraTS papers print them, five rows a network."""
    lines: Lines = []
    for network in networks:
        evaluation = Evaluation(BRATS_SETTINGS, results.surfaces[network.id], title=network.name)
        head, *body = brats_lines(evaluation) if rounded else brats_lines(evaluation, exact)
        if not lines:
            lines.append(["network" if rounded else "id", "statistic", *head[1:]])
        lines += [[network.name if rounded else network.id, *line] for line in body]
    return lines
