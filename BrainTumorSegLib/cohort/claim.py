"""An output folder is one run's: two that write to it at once would do the same work twice."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from ..domain.errors import OutputError
from ..io.run_mark import RunMark

FOLDER = ".running"
# A run on another machine of a shared disk says so often that it lives; one that is silent for longer is dead.
_BEAT_SECONDS, _SILENT_SECONDS = 5.0, 60.0


class Claim:
    """A file that says that a run writes to a folder.

    Attributes:
        path: the file; workers that see it share the folder.
    """

    def __init__(self, mark: RunMark, is_new: bool = False) -> None:
        """``is_new`` is whether the folder was made for it."""
        self._mark, self._beaten, self._is_new = mark, time.monotonic(), is_new
        self.path = mark.path

    @classmethod
    def make(cls, output: Path) -> Self:
        """Claim a folder, which is made where it is not there.

        Raises:
            OutputError: another run has it, or it cannot be written to.
        """
        folder, is_new = output / FOLDER, not output.exists()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            claim = cls(RunMark.make(folder), is_new)
        except OSError as error:
            raise OutputError(
                f"The output folder {output} cannot be written to ({error.strerror or error}).", "Choose another one."
            ) from error
        try:
            claim._check_alone()
        except BaseException:
            claim.release()
            raise
        return claim

    def _check_alone(self) -> None:
        now = self.path.stat().st_mtime  # by the clock of the disk, whatever machines think
        for other in self.path.parent.glob("*.run"):
            if other == self.path:
                continue
            dead = RunMark.take_over(other)
            try:
                if dead:
                    dead.remove()
                elif now - other.stat().st_mtime > _SILENT_SECONDS:
                    other.unlink()
                else:
                    raise OutputError(
                        f"Another run writes to {self.path.parent.parent}.",
                        f"Wait until it has ended. If none runs, try again in a minute, or remove {other}.",
                    )
            except FileNotFoundError:  # it has just ended
                continue

    def beat(self) -> None:
        """Say that the run lives; to be called often.

        Raises:
            OutputError: the claim is gone: somebody took the folder.
        """
        if time.monotonic() - self._beaten < _BEAT_SECONDS:
            return
        self._beaten = time.monotonic()
        try:
            os.utime(self.path)
        except FileNotFoundError as error:
            raise OutputError(
                f"{self.path} was removed: another run may write to its folder.", "Run the same command again."
            ) from error

    def release(self) -> None:
        """Give the folder back; one that was made for it goes where nothing was written to it."""
        self._mark.remove()
        with suppress(OSError):  # another one is about to claim it, or there are results
            self.path.parent.rmdir()
            if self._is_new:
                self.path.parent.parent.rmdir()
