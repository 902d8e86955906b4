"""Adding models: what a file, folder or archive is, what has to be said of it, and its way to the user's models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from BrainTumorSegLib.domain.errors import BrainTumorSegError
from BrainTumorSegLib.domain.structure import from_json
from BrainTumorSegLib.models.catalogue import SUFFIX
from BrainTumorSegLib.models.importers.findings import Findings

from .model_dialog import ModelDialog
from .model_work import ModelWork
from .widgets import errors_shown, remember, setting, show_error

# Of other programs: archives, weights with their configuration, and what stands for the folder that it lies in.
_FOREIGN = "*.zip *.pt *.pth plans.json metadata.json"


@dataclass(frozen=True)
class Source:
    """What is added: where it lies, and the command that adds it."""

    path: Path
    command: tuple[str, ...]


class AddingPart:
    """*Add…*, and what follows a download."""

    def __init__(self, ui: Any, work: ModelWork, prepare: Callable[[], None], added: Callable[[str], None]) -> None:
        """``prepare`` is called before the engine is needed; ``added`` takes the id of a model that was added."""
        self._work, self._prepare, self._added = work, prepare, added
        menu = qt.QMenu(ui.addModelButton)
        for name, text, slot in (
            ("addModelFileAction", _("File or archive…"), self._on_file),
            ("addModelFolderAction", _("Folder…"), self._on_folder),
        ):
            action = menu.addAction(text)
            action.objectName = name
            action.connect("triggered()", slot)
        ui.addModelButton.setMenu(menu)

    def _on_file(self) -> None:
        kinds = f"{_('Models')} (*{SUFFIX} {_FOREIGN})"
        file = qt.QFileDialog.getOpenFileName(slicer.util.mainWindow(), _("Model"), setting("ModelsFrom"), kinds)
        self.begin(file)

    def _on_folder(self) -> None:
        title = _("Folder of nnU-Net results, of a bundle or of Auto3DSeg")
        self.begin(qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), title, setting("ModelsFrom")))

    def begin(self, chosen: str | None) -> None:
        """Say what it is, ask, and add it; nothing where nothing was chosen."""
        if not chosen:
            return
        path = Path(chosen).absolute()
        remember("ModelsFrom", str(path.parent))
        with errors_shown():
            self._prepare()
            self.examine(Source(path, ("add", str(path))), {})

    def examine(self, source: Source, said: Mapping[str, str], problem: str = "") -> None:
        """Look what it is, and ask.

        Args:
            source: of the model.
            said: option → what it says, of what is known already.
            problem: what was wrong with that, as a sentence.
        """
        arguments = ["inspect", str(source.path), *_options(said)]
        failed = partial(self._mistaken, source, said) if said else show_error
        self._work.start(arguments, partial(self._ask, source, said, problem), failed)

    def add(self, source: Source, said: Mapping[str, str]) -> None:
        """Take it over; what turns out to be missing or wrong is asked for."""
        failed = partial(self._refused, source, said)
        self._work.start([*source.command, *_options(said)], self._on_added, failed)

    def _ask(self, source: Source, said: Mapping[str, str], problem: str, values: dict[str, Any]) -> None:
        findings: Findings = from_json(Findings, values)
        dialog = ModelDialog(findings, problem)
        try:
            if not dialog.asked():
                return
            answers = dialog.answers()
        finally:
            dialog.close()
        # What a choice leaves open is known when it was made.
        go_on = self.examine if any(question.decides for question in findings.open) else self.add
        go_on(source, {**said, **answers})

    def _refused(self, source: Source, said: Mapping[str, str], error: BrainTumorSegError) -> None:
        if error.option:
            self.examine(source, said, str(error))
        else:
            show_error(error)

    def _mistaken(self, source: Source, said: Mapping[str, str], error: BrainTumorSegError) -> None:
        """What was said cannot be of this model: it is asked for anew."""
        if error.option not in said:
            show_error(error)
            return
        left = {option: text for option, text in said.items() if option != error.option}
        self.examine(source, left, str(error))

    def _on_added(self, values: dict[str, Any]) -> None:
        name = str(values["id"])
        self._work.say(_("Added {model}.").format(model=name))
        self._added(name)


def _options(said: Mapping[str, str]) -> list[str]:
    return [f"--{option}={text}" for option, text in said.items() if text]
