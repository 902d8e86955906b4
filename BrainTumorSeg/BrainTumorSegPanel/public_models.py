"""Models that others publish: what each is before it is downloaded, and its download."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import slicer
from slicer.i18n import tr as _

from BrainTumorSegLib.domain.modalities import TITLES
from BrainTumorSegLib.domain.text_table import markdown_text
from BrainTumorSegLib.models.public_models import PublicModel, available

from .adding import AddingPart, Source
from .model_work import ModelWork
from .widgets import chosen_value, errors_shown, file_size, fill_list, plain


def _titles() -> dict[str, str]:
    """Listed models, by what they are for; the list is of one language."""
    return {
        "monai-brats-mri": _("Glioma, BraTS 2018 (MONAI)"),
        "auto3dseg-brats-gli": _("Glioma, adults (Auto3DSeg)"),
        "auto3dseg-brats-men": _("Meningioma (Auto3DSeg)"),
        "auto3dseg-brats-met": _("Metastases (Auto3DSeg)"),
        "auto3dseg-brats-ped": _("Glioma, children (Auto3DSeg)"),
        "auto3dseg-brats-ssa": _("Glioma, Sub-Saharan Africa (Auto3DSeg)"),
    }


class PublicModelsPart:
    """The list, the card of the chosen one, and *Download*. Nothing reaches the internet before that is clicked."""

    def __init__(
        self, ui: Any, work: ModelWork, adding: AddingPart, prepare: Callable[[], None], known: Callable[[str], bool]
    ) -> None:
        """``prepare`` is called before the engine is needed; ``known`` says whether a model of an id is installed."""
        self._ui, self._work, self._adding, self._prepare, self._known = ui, work, adding, prepare, known
        self._models: dict[str, PublicModel] = {}
        with errors_shown():
            self._models = available()
        titles = _titles()
        fill_list(ui.publicModelSelector, [(titles.get(m.id, m.title), m.id) for m in self._models.values()], "")
        ui.publicModelSelector.connect("currentIndexChanged(int)", self.refresh)
        ui.downloadModelButton.connect("clicked()", self._on_download)
        self.refresh()
        work.refresh()

    @property
    def _chosen(self) -> PublicModel | None:
        return self._models.get(chosen_value(self._ui.publicModelSelector))

    def refresh(self, _index: int = -1) -> None:
        """Show the card of the chosen model."""
        model = self._chosen
        self._ui.publicModelCardBrowser.setMarkdown(card(model, self._known(model.id)) if model else "")

    def _on_download(self) -> None:
        model = self._chosen
        if model is None:
            return
        question = _("Download “{title}” ({size}) from {host}? Its licence: {licence}").format(
            title=model.title, size=_size(model), host=urlsplit(model.url).hostname, licence=model.licence
        )
        with errors_shown():
            if slicer.util.confirmOkCancelDisplay(plain(question), _("Download a model")):
                self._prepare()
                arguments = ["download", model.id, "--yes", "--fetch-only"]
                self._work.start(arguments, partial(self._fetched, model), aside=True)

    def _fetched(self, model: PublicModel, values: dict[str, Any]) -> None:
        """It is here: what nobody vouches for is shown, and taken over if the user consents."""
        sha256 = str(values["sha256"])
        if values["doubt"]:
            question = _(
                "What was downloaded for {model} has the SHA-256\n\n{digest}\n\n{doubt} "
                "Add it, and from now on take nothing else for it?"
            )
            stated = (
                _("Its publisher states only its SHA-1, which is right.")
                if model.sha1
                else _("Nobody states what it has to be.")
            )
            text = question.format(model=model.id, digest=sha256, doubt=stated)
            if not slicer.util.confirmYesNoDisplay(plain(text), _("Download a model")):
                model.forget()
                self._work.say(_("It was not added."))
                return
        source = Source(model.file, ("download", model.id, "--yes", f"--sha256={sha256}"))
        self._adding.add(source, model.wishes().options())


def card(model: PublicModel, installed: bool) -> str:
    """What one should know of a model before its download, as Markdown in which its texts are texts."""
    gives = ", ".join(dict.fromkeys(model.labels.values())) or _("labels of its own")
    takes = ", ".join(TITLES[name] for name in model.channels) or _("not stated")
    known = model.known_sha256 or _("not stated; you are shown that of what comes")
    parts = [
        (_("For"), model.purpose),
        (_("Takes"), takes),
        (_("Gives"), gives),
        (_("Published accuracy"), f"{model.accuracy} ({model.accuracy_source})"),
        (_("Licence"), model.licence),
        (_("Size"), _size(model)),
        (_("From"), model.url),
        (_("Stated by"), model.source),
        ("SHA-256", known),
    ]
    lines = [f"**{markdown_text(model.title)}**", *([_("It is installed.")] if installed else [])]
    lines += [f"**{title}:** {markdown_text(text)}" for title, text in parts]
    return "\n\n".join(lines) + "\n"


def _size(model: PublicModel) -> str:
    return file_size(model.bytes) if model.bytes else _("size not stated")
