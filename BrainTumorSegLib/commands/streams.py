"""Standard output and error that never fail a run: whatever the terminal can show, and whoever stops reading."""

from __future__ import annotations

import codecs
import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TextIO

_HANDLER = "braintumorseg"
_PLAIN = str.maketrans(
    {"×": "x", "…": "...", "–": "-", "—": "-", "→": "->", "≤": "<=", "≥": ">=", "±": "+/-", "²": "2", "³": "3"}
    | {"“": '"', "”": '"', "‘": "'", "’": "'", "\u00a0": " ", "\u202f": " "}
)


def prepare_streams() -> None:
    """Let characters that the terminal does not have become plain ones, or escapes, instead of an error."""
    codecs.register_error(_HANDLER, _plainly)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:  # one that was replaced, as in a notebook, may lack it and takes any text
            reconfigure(errors=_HANDLER)


def _plainly(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_PLAIN)
    return text.encode("ascii", "backslashreplace").decode("ascii"), error.end


def write_line(text: str, stream: Literal["stdout", "stderr"]) -> None:
    """Print a line at once."""
    with tolerant(stream):
        print(text, file=getattr(sys, stream), flush=True)


@contextmanager
def tolerant(stream: Literal["stdout", "stderr"]) -> Iterator[None]:
    """Go on without the stream where nobody reads it any more, as behind ``| head -1``."""
    try:
        yield
    except OSError as error:
        gone = isinstance(error, BrokenPipeError) or (sys.platform == "win32" and error.errno == errno.EINVAL)
        if not gone:
            raise
        _silence(getattr(sys, stream))


def _silence(stream: TextIO) -> None:
    """Point the stream's file to nowhere, for what is still in its buffer when the program ends, too."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, stream.fileno())
    finally:
        os.close(nowhere)
