"""What an evaluation is asked for and what it gives: settings, one case, a cohort."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from ..domain.errors import BrainTumorSegError, RequestError
from ..domain.labels import REGIONS, TISSUES, Region
from .metrics.lesions import BRATS2023
from .metrics.measures import ALL, DEFAULT_MEASURES, HD95_DEFINITIONS, MEASURES, Measure, chosen_measures
from .metrics.policy import DEFAULT_POLICY, Emptiness, EmptyPolicy, policy_named
from .metrics.summary import Comparison, Summary, compare_paired, summarise

# Region → measure → value; a value is NaN where the convention leaves it out.
Measures = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Settings:
    """Everything that decides what the numbers of an evaluation are; it belongs into every report of them.

    Attributes:
        measures: names from :data:`~BrainTumorSegLib.metrics.MEASURES`, or ``all``; kept in that table's order.
        convention: name of the :class:`~BrainTumorSegLib.metrics.EmptyPolicy`.
        hd95: definition of HD95: ``directed``, ``pooled`` or ``surfel``.
        tolerance: of surface Dice, in mm.
        tissues: measure the tissue classes NCR and ED, too (ET is a region already).
        prediction_labels, reference_labels: label conventions of the files.
        resample: bring a prediction on another grid onto the reference's, nearest neighbour.

    Raises:
        RequestError: a name is not known, or the tolerance is negative.
    """

    measures: tuple[str, ...] = DEFAULT_MEASURES
    convention: str = DEFAULT_POLICY
    hd95: str = "directed"
    tolerance: float = 1.0
    tissues: bool = False
    prediction_labels: str = "auto"
    reference_labels: str = "auto"
    resample: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "measures", chosen_measures(self.measures))
        policy_named(self.convention)
        if self.hd95 not in HD95_DEFINITIONS:
            raise RequestError(
                f"There is no definition {self.hd95!r} of HD95.", f"Known: {', '.join(HD95_DEFINITIONS)}."
            )
        if not 0 <= self.tolerance < float("inf"):
            raise RequestError(f"The tolerance {self.tolerance} mm is not possible.", "Give millimetres, 0 or more.")

    @property
    def policy(self) -> EmptyPolicy:
        """What empty masks count as."""
        return policy_named(self.convention)

    @property
    def regions(self) -> dict[str, Region]:
        """The regions that are measured, by name: ET, TC, WT, then the tissues if asked for."""
        return {**REGIONS, **(TISSUES if self.tissues else {})}

    def words(self) -> list[str]:
        """The conventions in sentences, for reports and table notes."""
        said = [f"Empty masks count as in {self.policy.title} ({self.policy.source})."]
        if "hd95" in self.measures:
            said.append(f"HD95 is {HD95_DEFINITIONS[self.hd95]}.")
        if "surface_dice" in self.measures:
            said.append(f"Surface Dice is by area, at a tolerance of {self.tolerance:g} mm (Nikolov et al. 2021).")
        if any(name.startswith("lesion") for name in self.measures):
            said.append(f"Lesions are told apart, matched and scored as by {BRATS2023.name}.")
        if self.resample:
            said.append("Predictions on another grid were brought onto the reference's by nearest neighbour.")
        return said


@dataclass(frozen=True)
class CaseResult:
    """One case.

    Attributes:
        case: its id.
        measures: region → measure → value. The key ``all`` (:data:`~BrainTumorSegLib.metrics.measures.ALL`) holds
            measures of all regions together (``miou``) where asked for. NaN: left out under the convention.
        empties: region → which mask is empty (``both``, ``reference``, ``prediction``, or an empty string).
        volumes: region → (predicted, reference) in ml.
        shape: of the grid ``(Z, Y, X)``.
        spacing: voxel size ``(z, y, x)`` in mm.
        prediction, reference: the files, where there are any.
        notes: what was done to compare them at all, such as resampling.
    """

    case: str
    measures: Measures
    empties: Mapping[str, Emptiness]
    volumes: Mapping[str, tuple[float, float]]
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    prediction: Path | None = None
    reference: Path | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evaluation:
    """A cohort: the cases that could be compared, and what kept the others from it.

    Attributes:
        settings: how it was measured.
        results: case id → result, sorted by id.
        failures: case id → error.
        title: name of the method, for tables and reports.
    """

    settings: Settings
    results: Mapping[str, CaseResult]
    failures: Mapping[str, BrainTumorSegError] = field(default_factory=dict)
    title: str = ""

    def columns(self) -> list[tuple[str, Measure]]:
        """Region and measure of each column of a table: measures in their order, regions within each.

        mIoU has the region ``all``.
        """
        return [
            (region, MEASURES[name])
            for name in self.settings.measures
            for region in ([ALL] if name == "miou" else self.settings.regions)
        ]

    def values(self, region: str, measure: str) -> list[float]:
        """One value a case, in the order of :attr:`results`; NaN where left out."""
        return [result.measures[region][measure] for result in self.results.values()]

    def summary(self, region: str, measure: str) -> Summary:
        """Summary of one measure in one region; counts empties for measures that the convention decides."""
        return self._summaries[region, measure]

    @cached_property
    def _summaries(self) -> dict[tuple[str, str], Summary]:
        """Each is wanted several times, and its bootstrap takes a while where cases are many."""
        found = {}
        for region, measure in self.columns():
            decided = measure.family
            empties = [result.empties[region] for result in self.results.values()] if decided else []
            found[region, measure.name] = summarise(self.values(region, measure.name), empties)
        return found

    def means(self) -> Measures:
        """Region → measure → mean over the cases that counted."""
        found: Measures = {}
        for region, measure in self.columns():
            found.setdefault(region, {})[measure.name] = self.summary(region, measure.name).mean
        return found


def compare_evaluations(first: Evaluation, second: Evaluation) -> dict[str, dict[str, Comparison]]:
    """Region → measure → paired comparison over the cases that both evaluations have.

    Raises:
        RequestError: they share no case, or were measured differently.
    """
    shared = [case for case in first.results if case in second.results]
    if first.settings != second.settings or not shared:
        raise RequestError("These evaluations cannot be paired.", "Measure the same cases with the same settings.")
    found: dict[str, dict[str, Comparison]] = {}
    for region, measure in first.columns():
        pairs = [
            [evaluation.results[case].measures[region][measure.name] for case in shared]
            for evaluation in (first, second)
        ]
        found.setdefault(region, {})[measure.name] = compare_paired(pairs[0], pairs[1])
    return found
