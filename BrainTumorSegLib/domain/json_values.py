"""JSON that others wrote: whatever it holds, it is read, or it is an error of two kinds. And numbers for ours."""

from __future__ import annotations

import json
import math
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# More than the record of any result; a file that has no end is not read for one.
LARGEST = 64 << 20


def json_of(text: str | bytes) -> Any:
    """The values of a JSON text.

    Raises:
        ValueError: it is none, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_json(file: Path, *, encoding: str = "utf-8", largest: int = LARGEST) -> Any:
    """The values of a JSON file.

    Raises:
        OSError: it is not there or cannot be read.
        ValueError: it is no regular file (a pipe would be waited for), larger than ``largest`` bytes, or no JSON.
    """
    facts = file.stat()
    if not stat.S_ISREG(facts.st_mode):
        raise ValueError("it is no file")
    if facts.st_size > largest:
        raise ValueError(f"it has more than {largest >> 20} MB")
    return json_of(file.read_text(encoding=encoding))


def finite(values: Mapping[str, float]) -> dict[str, float | None]:
    """Numbers to three decimals, null for undefined ones: NaN is no JSON."""
    return {name: round(value, 3) if math.isfinite(value) else None for name, value in values.items()}
