"""Brain tumour segmentation engine: enhancing tumour, tumour core and whole tumour from MRI.

Importing this package is light: torch and MONAI are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.2.0"

_HOMES = {
    "Case": "domain.case",
    "Segmentation": "domain.segmentation",
    "Volume": "domain.volume",
    "evaluate": "api",
    "load_model": "models.catalogue",
    "read_case": "io.case_folder",
    "read_volume": "io.registry",
    "segment": "api",
    "write_volume": "io.registry",
}
__all__ = [
    "Case",
    "Segmentation",
    "Volume",
    "evaluate",
    "load_model",
    "read_case",
    "read_volume",
    "segment",
    "write_volume",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
