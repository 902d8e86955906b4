"""What to expect of a run before it begins: how accurate it was on others' images, and how long it takes here."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

from slicer.i18n import tr as _

from BrainTumorSegLib.domain.modalities import MODALITIES, TITLES, listed
from BrainTumorSegLib.inference.result_warnings import TRUSTED_DICE
from BrainTumorSegLib.models.description import Description
from BrainTumorSegLib.preprocessing.plan import Plan

from .widgets import duration, remember, setting


@dataclass(frozen=True)
class Forecast:
    """What is said before a run.

    Attributes:
        text: some lines.
        warns: whether something of it is a reason not to rely on the result.
    """

    text: str
    warns: bool = False


@dataclass(frozen=True)
class Kind:
    """What the time of a run depends on, besides the computer and the images."""

    model: str
    device: str
    prepares: bool
    tta: bool

    @classmethod
    def of(cls, model: str, device: str, plan: Plan | None, tta: bool) -> Kind:
        """That of a run which would begin now."""
        return cls(model, device, plan is not None and bool(plan.registered or plan.stripped), tta)

    @property
    def _name(self) -> str:
        parts = (self.model, self.device, "raw" if self.prepares else "prepared", "tta" if self.tta else "")
        return "Seconds/" + "-".join(filter(None, parts)).replace("/", "_").replace("\\", "_")

    @property
    def seconds(self) -> float | None:
        """How long the last one took on this computer; None where there was none."""
        try:
            value = float(setting(self._name))
        except ValueError:
            return None
        return value if math.isfinite(value) and value > 0 else None

    def took(self, seconds: float) -> None:
        """Remember it."""
        remember(self._name, f"{seconds:.1f}")


def forecast(description: Description, given: Collection[str], kind: Kind, to_install: str = "") -> Forecast:
    """What to expect of a model on just these sequences.

    Args:
        description: of the model.
        given: the modalities that are chosen.
        kind: what its time depends on.
        to_install: what has to be installed first, in words; empty where all is there.
    """
    accuracy, warns = _accuracy(description, given)
    if to_install:
        return Forecast("\n".join([accuracy, to_install]), warns)
    seconds = kind.seconds
    time = (
        _("How long it takes on this computer is known after the first run.")
        if seconds is None
        else _("The last such run took {time} on this computer.").format(time=duration(seconds))
    )
    return Forecast("\n".join([accuracy, time]), warns)


def _accuracy(d: Description, given: Collection[str]) -> tuple[str, bool]:
    """The measured accuracy with these images; and whether a region is not to be relied on."""
    used = [name for name in MODALITIES if name in given and name in d.modalities]
    record = d.accuracy_with(used)
    with_what = _these(d, used)
    if record is None:
        return _("With {images}: accuracy not measured.").format(images=with_what), False
    figures = ", ".join(f"{region}\u00a0{value:.2f}" for region, value in record.values.items())
    text = _("With {images}: mean Dice {figures} ({cases} patients).").format(
        images=with_what, figures=figures, cases=record.cases
    )
    doubtful = [region for region, value in record.values.items() if value < TRUSTED_DICE]
    if doubtful:
        text += " " + _("Do not rely on {regions}.").format(regions=listed(doubtful))
    return text, bool(doubtful)


def _these(d: Description, used: list[str]) -> str:
    titles = [TITLES[name] for name in used]
    if len(used) == 1 and len(d.modalities) > 1:
        return str(_("{image} alone").format(image=titles[0]))
    return listed(titles)
