"""Brain tumour segmentation engine: enhancing tumour, tumour core and whole tumour from MRI.

Importing this package is light: torch and MONAI are imported when they are first used.
"""

from __future__ import annotations

__version__ = "0.1.0"
