"""What the parts of the panel share: errors shown once, settings, seconds in words."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from BrainTumorSegLib.domain.errors import BrainTumorSegError, CancelledError

from .wording import panel_words

_SETTINGS = "BrainTumorSeg/"
_LONG_WORD, _PIECE = re.compile(r"\S{24,}"), re.compile(r"\S{1,12}")  # a name must not make the panel wider
# What no name of a file may hold on some system; Slicer calls series "3: T1".
_NO_NAME = re.compile(r'[<>:"/\\|?*]')
# Of text that warns, on a light and on a dark background: both with a contrast of more than 4.5.
_WARNING = {False: "#a84300", True: "#ffb060"}


def show_error(error: BaseException, log: Sequence[str] = ()) -> None:
    """One message, or none for what the user declined; what the engine said, or where it went wrong, as details."""
    if isinstance(error, CancelledError):
        return
    if isinstance(error, BrainTumorSegError):
        text, details = panel_words(error.sentence()), "\n".join(log)
    else:
        text = _("Unexpected {kind}: {error}. Please report it with the diagnostics of the log.").format(
            kind=type(error).__name__, error=error
        )
        details = "".join(traceback.format_exception(error))
    if details:
        slicer.util.errorDisplay(plain(text), detailedText=details)
    else:
        slicer.util.errorDisplay(plain(text))


def show_text(label: Any, text: str, *, warns: bool = False) -> None:
    """A line that is there only where it says something; in the colour of warnings where it warns of something."""
    label.text = breakable(text)
    label.visible = bool(text)
    dark = label.palette.color(qt.QPalette.Window).lightness() < 128
    label.styleSheet = f"color: {_WARNING[dark]}" if warns else ""


def breakable(text: str) -> str:
    """A text whose long words, such as paths, can be broken anywhere."""
    return _LONG_WORD.sub(lambda word: "\u200b".join(_PIECE.findall(word.group())), text)


def plain(text: str) -> str:
    """A text that no box takes for rich text: names of files and nodes may hold tags, and these pictures.

    A word joiner, which nobody sees, keeps Qt from finding a tag.
    """
    return text.replace("<", "<\u2060").replace("&", "&\u2060")


@contextmanager
def errors_shown() -> Iterator[None]:
    """Show what goes wrong in a block instead of raising it: slots have nobody to raise it to."""
    try:
        yield
    except Exception as error:
        show_error(error)


def ask_file_to_save(title: str, proposed: str, kind: str) -> Path | None:
    """A file to be written; None where the user declined.

    Args:
        title: of the dialogue.
        proposed: its name, which may be that of a node; a name without suffix gets that of it.
        kind: of file, as Qt's filters say it.
    """
    name = _NO_NAME.sub("-", proposed)
    file = qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), title, name, kind)
    if not file or Path(file).suffix:
        return Path(file) if file else None
    path = Path(file + Path(name).suffix)
    question = plain(_("{file} is there already. Replace it?").format(file=path))  # the dialogue asked for another name
    return path if not path.exists() or slicer.util.confirmOkCancelDisplay(question) else None


def setting(name: str, default: str = "") -> str:
    """A remembered choice."""
    value = qt.QSettings().value(_SETTINGS + name)
    return str(value) if value is not None else default


def remember(name: str, value: str) -> None:
    """Remember a choice."""
    qt.QSettings().setValue(_SETTINGS + name, value)


def duration(seconds: float) -> str:
    """Rounded for people."""
    if seconds < 90:
        return _("{seconds} s").format(seconds=max(5, 5 * round(seconds / 5)))
    return _("{minutes} min").format(minutes=round(seconds / 60))


def file_size(size: int) -> str:
    """A number of bytes, for people."""
    if size < 1e6:
        return _("{size} kB").format(size=round(size / 1e3))
    return _("{size} MB").format(size=f"{size / 1e6:.1f}" if size < 1e7 else f"{size / 1e6:.0f}")


def fill_list(box: Any, entries: Sequence[tuple[str, str]], chosen: str) -> None:
    """Put ``(text, value)`` into a QComboBox and choose the value; the first one where it is not there."""
    blocked = box.blockSignals(True)
    box.clear()
    for text, value in entries:
        box.addItem(text, value)
    values = [value for _text, value in entries]
    box.currentIndex = values.index(chosen) if chosen in values else (0 if values else -1)
    box.blockSignals(blocked)


def chosen_value(box: Any) -> str:
    """The value of a list's current entry; empty where there is none."""
    return str(box.itemData(box.currentIndex)) if box.currentIndex >= 0 else ""
