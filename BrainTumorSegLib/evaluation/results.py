"""What an evaluation is asked for and what it gives: settings, one case, a cohort."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from ..domain.errors import BrainTumorSegError, RequestError
from ..domain.labels import CONVENTIONS, REGIONS, Region, tissues_of
from ..domain.modalities import listed
from .metrics.lesions import BRATS2023
from .metrics.measures import ALL, DEFAULT_MEASURES, HD95_DEFINITIONS, MEASURES, Measure, chosen_measures
from .metrics.policy import DEFAULT_POLICY, Emptiness, EmptyPolicy, policy_named
from .metrics.summary import Paired, Summary, paired, summarise

# Region → measure → value; a value is NaN where the convention leaves it out.
Measures = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Settings:
    """Everything that decides what the numbers of an evaluation are; it belongs into every report of them.

    Attributes:
        measures: names from :data:`~.metrics.measures.MEASURES`, or ``all``; kept in that table's order.
        convention: name of the :class:`~.metrics.policy.EmptyPolicy`.
        hd95: definition of HD95: ``directed``, ``pooled`` or ``surfel``.
        tolerance: of surface Dice, in mm.
        tissues: measure the tissue classes NCR and ED, too (ET is a region already).
        prediction_labels, reference_labels: label conventions of the files; ``auto`` until their values have decided.
        assumed: which of ``prediction`` and ``reference`` follow a convention that was decided by their values.
        resample: bring a prediction on another grid onto the reference's, nearest neighbour.
        voxelwise: compare voxel by voxel where the shapes agree, whatever the headers say.
        unknown: regions that are not measured, since none of the files of one side can tell them; None until the
            records beside the files have decided.

    Raises:
        RequestError: a name is not known, the tolerance is negative, or two ways to bring grids together are asked for.
    """

    measures: tuple[str, ...] = DEFAULT_MEASURES
    convention: str = DEFAULT_POLICY
    hd95: str = "directed"
    tolerance: float = 1.0
    tissues: bool = False
    prediction_labels: str = "auto"
    reference_labels: str = "auto"
    assumed: tuple[str, ...] = ()
    resample: bool = False
    voxelwise: bool = False
    unknown: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "measures", chosen_measures(self.measures))
        policy_named(self.convention)
        if self.hd95 not in HD95_DEFINITIONS:
            raise RequestError(
                f"There is no definition {self.hd95!r} of HD95.", f"Known: {', '.join(HD95_DEFINITIONS)}."
            )
        if not 0 <= self.tolerance < float("inf"):
            raise RequestError(f"The tolerance {self.tolerance} mm is not possible.", "Give millimetres, 0 or more.")
        for name in (self.prediction_labels, self.reference_labels):
            if name not in ("auto", *CONVENTIONS):
                raise RequestError(f"Unknown label convention {name!r}.", f"Known: {', '.join(CONVENTIONS)}.")
        if self.resample and self.voxelwise:
            raise RequestError("Grids are either resampled or compared voxel by voxel.", "Choose one of the two.")

    @property
    def policy(self) -> EmptyPolicy:
        """What empty masks count as."""
        return policy_named(self.convention)

    @property
    def regions(self) -> dict[str, Region]:
        """The regions that are measured, by name: ET, TC, WT, then the tissues if asked for.

        Only those that both sides can tell by their label conventions and their models: WT alone against masks of the
        whole tumour.
        """
        known = set(REGIONS) - set(self.unknown or ())
        for name in (self.prediction_labels, self.reference_labels):
            known &= set(CONVENTIONS[name].regions if name in CONVENTIONS else REGIONS)
        regions = {name: region for name, region in REGIONS.items() if name in known}
        return {**regions, **(tissues_of(known) if self.tissues else {})}

    def measured_alike(self, other: Settings) -> bool:
        """Whether figures under both settings can be paired: all agrees but how the files spell their labels."""
        return self._without_labels() == other._without_labels()

    def _without_labels(self) -> Settings:
        return replace(self, prediction_labels="auto", reference_labels="auto", assumed=(), unknown=None)

    def label_words(self) -> list[str]:
        """Which label convention each side was read by, and whether it was assumed; empty for arrays."""
        said = []
        for side, name in (("prediction", self.prediction_labels), ("reference", self.reference_labels)):
            if name == "auto":
                continue
            how = "assumed from their values" if side in self.assumed else "as named"
            said.append(f"Labels of the {side}s: {name}, {how}: {CONVENTIONS[name].title}.")
            if side in self.assumed and name == "brats2021":
                said[-1] += " Where 4 is a resection cavity, name brats2024."
        return said

    def words(self) -> list[str]:
        """The conventions in sentences, for reports and table notes."""
        said = self.label_words()
        if self.unknown:
            said.append(f"Not measured: {listed(self.unknown)}, which a side's models do not know, as its records say.")
        said += [f"Empty masks count as in {self.policy.title} ({self.policy.source})."]
        if "hd95" in self.measures:
            said.append(f"HD95 is {HD95_DEFINITIONS[self.hd95]}.")
        if "surface_dice" in self.measures:
            said.append(f"Surface Dice is by area, at a tolerance of {self.tolerance:g} mm (Nikolov et al. 2021).")
        if any(name.startswith("lesion") for name in self.measures):
            said.append(f"Lesions are told apart, matched and scored as by {BRATS2023.name}.")
        if self.resample:
            said.append("Predictions on another grid were brought onto the reference's by nearest neighbour.")
        if self.voxelwise:
            said.append("Grids of one shape were compared voxel by voxel, whatever their headers say.")
        return said


@dataclass(frozen=True)
class CaseResult:
    """One case.

    Attributes:
        case: its id.
        measures: region → measure → value. The key ``all`` (:data:`~.metrics.measures.ALL`) holds
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


def paired_evaluations(first: Evaluation, second: Evaluation) -> dict[str, dict[str, Paired]]:
    """Region → measure → one method against the other, over the cases and regions that both evaluations have.

    Raises:
        RequestError: they share no case, or were measured differently.
    """
    shared = [case for case in first.results if case in second.results]
    if not first.settings.measured_alike(second.settings) or not shared:
        raise RequestError("These evaluations cannot be paired.", "Measure the same cases with the same settings.")
    found: dict[str, dict[str, Paired]] = {}
    both = set(second.columns())
    if len({tuple(name for name in each.settings.regions if name in REGIONS) for each in (first, second)}) > 1:
        both = {(region, measure) for region, measure in both if region != ALL}  # means over other regions
    for region, measure in first.columns():
        if (region, measure) not in both:
            continue
        values = [
            [evaluation.results[case].measures[region][measure.name] for case in shared]
            for evaluation in (first, second)
        ]
        found.setdefault(region, {})[measure.name] = paired(values[0], values[1])
    return found
