"""The panel's models: the list, what each is, adding and removing, licences at first use; and the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from BrainTumorSegLib.domain.errors import BrainTumorSegError
from BrainTumorSegLib.domain.modalities import MODALITIES, TITLES
from BrainTumorSegLib.domain.options import DEFAULT_MODEL
from BrainTumorSegLib.models import catalogue
from BrainTumorSegLib.models.description import Description
from BrainTumorSegLib.models.licence import accept_licence, pending_licence
from BrainTumorSegLib.models.model_card import model_card
from BrainTumorSegLib.runner import POLL_SECONDS

from .adding import AddingPart
from .devices import BASIC, Device, DeviceProbe
from .model_work import ModelWork
from .public_models import PublicModelsPart
from .widgets import chosen_value, errors_shown, fill_list, remember, setting, show_text


def _titles() -> dict[str, str]:
    """Models that come along, by what they are for.

    Here and not in their files, since a checkpoint's own title names its network, which its card shows, is of one
    language, and could only be changed by writing megabytes of weights anew.
    """
    return {
        "brats-ensemble": _("Any sequences (recommended)"),
        "brats-segresnet": _("Any sequences, faster (volumetric)"),
        "brats-unet2d": _("Any sequences, faster (slice by slice)"),
        "lgg-unet": _("FLAIR, low-grade glioma"),
        "lgg-unet2d": _("FLAIR, low-grade glioma, faster"),
        "lgg-u2net": _("FLAIR, low-grade glioma (second opinion)"),
    }


# What was found is kept for the session: each question costs a process that imports torch.
_known_devices: list[tuple[Device, ...]] = []


class ModelsPart:
    """Which network runs, and where."""

    def __init__(self, ui: Any, changed: Callable[[], None], prepare: Callable[[], None], work: ModelWork) -> None:
        """``changed`` is called when another model is chosen, ``prepare`` before the engine is needed."""
        self._ui, self._changed, self.work = ui, changed, work
        self._probe: DeviceProbe | None = None
        self._timer = qt.QTimer()
        self._timer.setInterval(round(1000 * POLL_SECONDS))
        self._timer.connect("timeout()", self._poll_devices)
        ui.modelSelector.connect("currentIndexChanged(int)", self._on_model)
        ui.deviceSelector.connect("currentIndexChanged(int)", self._on_device)
        ui.removeModelButton.connect("clicked()", self._on_remove)
        ui.openModelsFolderButton.connect("clicked()", self._on_open_folder)
        adding = AddingPart(ui, work, prepare, self._on_added)
        self._public: PublicModelsPart | None = None
        self.refresh()
        self._public = PublicModelsPart(ui, work, adding, prepare, lambda name: name in self._models)
        self.refresh_devices()

    def close(self) -> None:
        """The panel goes away."""
        self._timer.stop()
        self.work.close()
        if self._probe is not None:
            self._probe.close()

    @property
    def model(self) -> str:
        """Id of the chosen model."""
        return chosen_value(self._ui.modelSelector)

    @property
    def device(self) -> str:
        """Name of the chosen device."""
        return chosen_value(self._ui.deviceSelector) or "auto"

    @property
    def description(self) -> Description | None:
        """What the chosen model says of itself; None where there is no model."""
        found = self._models.get(self.model)
        return found.description if found else None

    def takes(self) -> tuple[str, ...]:
        """Sequences that the chosen model takes; all where there is no model."""
        return self.description.modalities if self.description else MODALITIES

    def wanted(self) -> str:
        """What the chosen model wants to see: the extracted brain or the whole head."""
        return self.description.preprocessing.brain if self.description else "extracted"

    def refresh(self) -> None:
        """Read the models' folders again."""
        self._models, self._errors = catalogue.installed()
        entries = [(_title(m), identifier) for identifier, m in self._models.items()]
        fill_list(self._ui.modelSelector, entries, setting("Model", DEFAULT_MODEL))
        self._show()
        if self._public is not None:
            self._public.refresh()

    def refresh_devices(self) -> None:
        """Ask which devices there are, unless that is known."""
        self._list_devices(_known_devices[-1] if _known_devices else BASIC)
        if not _known_devices and self._probe is None:
            try:
                self._probe = DeviceProbe()
            except (BrainTumorSegError, OSError) as error:  # a run would say so; opening the panel should not
                self._ui.deviceSelector.toolTip = _("GPUs could not be looked for: {error}").format(error=error)
            else:
                self._timer.start()

    def missing(self, given: set[str]) -> str:
        """Which images the model lacks, in words; empty if it can run."""
        description = self.description
        if description is None:
            return _("No model is installed; add one.")
        lacking = [_(" or ").join(TITLES[name] for name in group) for group in description.lacking(given)]
        if not lacking:
            return ""
        return _("Choose {names}: the model “{model}” needs it.").format(
            names=", ".join(lacking), model=_title(self._models[self.model])
        )

    def licence_accepted(self) -> bool:
        """Whether the model may be used; a model with a restrictive licence asks once."""
        description = self.description
        if description is None or not pending_licence(description):
            return True
        question = _(
            "The weights of the model {model} have this licence:\n\n{weights}\n\n"
            "Data it was trained on: {data}\n\n{use}\n\nDo you accept it?"
        ).format(
            model=description.id,
            weights=description.weights_licence,
            data=description.data_licence or _("not stated"),
            use=description.intended_use,
        )
        if not slicer.util.confirmYesNoDisplay(question, _("Licence of the model")):
            return False
        accept_licence(description)
        return True

    def _show(self) -> None:
        description = self.description
        lines = [_summary(description)] if description else []
        lines += [error.sentence() for error in self._errors]
        show_text(self._ui.modelInfoLabel, "\n".join(lines), warns=bool(self._errors))
        self._ui.modelCardBrowser.setMarkdown(model_card(description) if description else "")
        chosen = self._models.get(self.model)
        self._ui.removeModelButton.enabled = chosen is not None and not (chosen.embedded or chosen.part_of)
        self._ui.removeModelButton.toolTip = (
            _("Delete the chosen model from your models folder.")
            if self._ui.removeModelButton.enabled
            else _("Only models that you added can be removed.")
        )

    def _on_model(self, _index: int = -1) -> None:
        remember("Model", self.model)
        self._show()
        self._changed()

    def _on_device(self, _index: int = -1) -> None:
        remember("Device", self.device)
        self._changed()

    def _list_devices(self, devices: tuple[Device, ...]) -> None:
        fill_list(self._ui.deviceSelector, [(d.title, d.name) for d in devices], setting("Device", "auto"))

    def _poll_devices(self) -> None:
        if self._probe is not None and self._probe.poll():
            self._timer.stop()
            devices = self._probe.devices or BASIC
            if self._probe.asked:
                _known_devices.append(devices)
            self._probe = None
            self._list_devices(devices)

    def _on_added(self, name: str) -> None:
        remember("Model", name)
        self.refresh()
        self._changed()

    def _on_remove(self) -> None:
        with errors_shown():
            name = self.model
            if slicer.util.confirmOkCancelDisplay(_("Delete the model {model}?").format(model=name)):
                catalogue.remove(name)
                self.refresh()
                self._changed()

    def _on_open_folder(self) -> None:
        with errors_shown():
            folder = catalogue.models_folder()
            folder.mkdir(parents=True, exist_ok=True)
            qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(folder)))


def _title(model: catalogue.InstalledModel) -> str:
    """For the list: what a model is for; of the user's own, what its file says."""
    d = model.description
    return _titles().get(d.id, d.title or d.id) if model.embedded else f"{d.title} ({d.id})"


def _summary(d: Description) -> str:
    """What a model needs and gives, and its licence, in a few lines."""
    optional = ", ".join(TITLES[name] for name in d.modalities if name not in d.required_modalities)
    needs = ", ".join(TITLES[name] for name in d.required_modalities)
    if not needs:
        needs = _("any of {names}").format(names=optional)
    elif optional:
        needs = f"{needs}, {_('optional: {names}').format(names=optional)}"
    lines = [
        _("Needs {needs}; gives {regions}.").format(needs=needs, regions=", ".join(d.regions)),
        _("Weights: {licence}.").format(licence=d.weights_licence or _("licence not stated")),
    ]
    return "\n".join(lines)
