"""Message boxes and file choosers: shown to the test instead of a person, and answered by it."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from PySide6 import QtCore


@dataclass(frozen=True)
class Shown:
    """A dialog that was shown."""

    kind: str
    text: str
    details: str = ""
    buttons: tuple[str, ...] = ()


class UnexpectedDialogError(AssertionError):
    """A dialog asked something that the test has no answer for; in the application it would wait for ever."""


class QtWarning(RuntimeWarning):
    """A line that Qt wrote."""


@dataclass
class Desk:
    """What was shown, what a test answers, and exceptions that nothing caught (in slots and observers)."""

    shown: list[Shown] = field(default_factory=list)
    uncaught: list[BaseException] = field(default_factory=list)
    _answers: deque[Any] = field(default_factory=deque)

    def answer(self, *answers: Any) -> None:
        """What the next questions are answered with, in turn: a button's name, a path, a text."""
        self._answers.extend(answers)

    def show(self, shown: Shown) -> Any:
        """Record a dialog; the answer, where it asks anything.

        Raises:
            UnexpectedDialogError: it has a choice, and no answer was prepared.
        """
        self.shown.append(shown)
        if shown.kind == "message" and len(shown.buttons) == 1:
            return shown.buttons[0]
        if not self._answers:
            raise UnexpectedDialogError(f"not answered: {shown}")
        return self._answers.popleft()

    def take(self) -> list[Shown]:
        """What was shown since the last call."""
        shown, self.shown = self.shown, []
        return shown

    def texts(self) -> list[str]:
        """The texts of :meth:`take`."""
        return [shown.text for shown in self.take()]

    @property
    def unused_answers(self) -> Sequence[Any]:
        """Answers to questions that were never asked."""
        return list(self._answers)

    def catch_qt(self) -> None:
        """What Qt itself complains of is a mistake in the code or the .ui file."""

        def handle(kind: QtCore.QtMsgType, context: QtCore.QMessageLogContext, text: str) -> None:
            if "propagateSizeHints" not in text:  # the off-screen platform cannot do that
                self.uncaught.append(QtWarning(text))

        QtCore.qInstallMessageHandler(handle)

    def clear(self) -> None:
        """Forget all."""
        self.shown, self.uncaught = [], []
        self._answers.clear()

    def catch_uncaught(self) -> None:
        """Qt and VTK hand exceptions of slots and observers to ``sys.excepthook`` only."""

        def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
            self.uncaught.append(error.with_traceback(trace))
            sys.__excepthook__(kind, error, trace)

        sys.excepthook = hook
        sys.unraisablehook = lambda args: self._keep(args.exc_value)  # in destructors and callbacks of weak references

    def _keep(self, error: BaseException | None) -> None:
        if error is not None:
            self.uncaught.append(error)


DESK = Desk()
