"""From tissues to images: relaxation times, the signal equations of the four sequences, and a scanner's flaws."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage

from ..domain.labels import ET, NCR
from ..domain.modalities import FLAIR, T1, T1CE, T2
from .anatomy import BLOOD, CSF, DEEP, GREY, WHITE, Anatomy
from .lattice import Lattice
from .tumour import Tumour

RELAXIVITY = 4.5  # r1 of gadolinium chelates in tissue at 3 T, 1/(mM s)


@dataclass(frozen=True)
class Tissue:
    """What a sequence sees: proton density relative to water, T1 and T2 in ms, gadolinium in mM after injection."""

    density: float
    t1: float
    t2: float
    gadolinium: float = 0.0


# At 3 T. White and grey matter lie between Wansapura 1999 (832/80 and 1331/110 ms) and Stanisz 2005 (1084/69 and
# 1820/99 ms), CSF follows Clare 2001, densities BrainWeb (Collins 1998). Blood has the T1 of Lu 2004, and less density
# and T2 than at rest for what flow takes away.
HEALTHY: dict[int, Tissue] = {
    CSF: Tissue(1.00, 4300, 1500),
    GREY: Tissue(0.82, 1400, 95, 0.006),
    WHITE: Tissue(0.70, 900, 80, 0.003),
    DEEP: Tissue(0.76, 1130, 83, 0.006),
    BLOOD: Tissue(0.65, 1650, 60, 1.500),
}
# Glioma: T1 of 1.3 to 1.9 s in solid and peritumoral tissue (de Blank 2019), T2 about twice that of white matter and
# more the more fluid there is (Just 1988). Gadolinium takes 0.84 s off T1 in the enhancing rim, 0.12 s in oedema and
# 0.03 s in healthy tissue (Müller 2020): that gives the concentrations.
OEDEMA = Tissue(0.84, 1550, 145, 0.010)
RIM = Tissue(0.85, 1600, 120, 0.150)
DEAD = Tissue(0.86, 1650, 150, 0.030)  # necrosis is anything between dead tissue and liquid
LIQUID = Tissue(0.95, 2600, 320, 0.010)


@dataclass(frozen=True)
class Acquisition:
    """A sequence: times in ms (``ti`` 0: spin echo without inversion); ``blur``: Gaussian sigma in mm along z, y, x."""

    tr: float
    te: float
    ti: float = 0.0
    contrast: bool = False
    blur: tuple[float, float, float] = (0.7, 0.6, 0.6)


def nulling_time(t1: float, tr: float) -> float:
    """Inversion time (ms) at which tissue of this T1 gives no signal: TI = T1·(ln 2 − ln(1 + e^(−TR/T1)))."""
    return float(t1 * (np.log(2.0) - np.log1p(np.exp(-tr / t1))))


ACQUISITIONS: dict[str, Acquisition] = {
    T1: Acquisition(tr=550, te=11),
    T1CE: Acquisition(tr=550, te=11, contrast=True),
    T2: Acquisition(tr=5000, te=95, blur=(1.2, 0.6, 0.6)),
    FLAIR: Acquisition(tr=9000, te=120, ti=nulling_time(HEALTHY[CSF].t1, 9000), blur=(1.2, 0.7, 0.7)),
}


def shortened(t1: ArrayLike, concentration: ArrayLike) -> np.ndarray:
    """T1 (ms) with gadolinium (mM): 1/T1' = 1/T1 + r1·C."""
    return 1.0 / (1.0 / np.asarray(t1) + RELAXIVITY * 1e-3 * np.asarray(concentration))


def signal(density: ArrayLike, t1: ArrayLike, t2: ArrayLike, acquisition: Acquisition) -> np.ndarray:
    """Magnitude relative to fully relaxed water.

    Spin echo: PD·(1 − e^(−TR/T1))·e^(−TE/T2). With inversion: PD·|1 − 2e^(−TI/T1) + e^(−TR/T1)|·e^(−TE/T2).
    """
    t1, t2 = np.asarray(t1), np.asarray(t2)
    longitudinal = 1.0 - np.exp(-acquisition.tr / t1)
    if acquisition.ti:
        longitudinal = np.abs(2.0 - longitudinal - 2.0 * np.exp(-acquisition.ti / t1))
    return np.asarray(density) * longitudinal * np.exp(-acquisition.te / t2)


@dataclass(frozen=True)
class Maps:
    """Density, T1 (ms), T2 (ms), gadolinium (mM) and the share of CSF of each voxel, float32 ``(Z, Y, X)``."""

    density: np.ndarray
    t1: np.ndarray
    t2: np.ndarray
    gadolinium: np.ndarray
    fluid: np.ndarray


def relaxation_maps(
    rng: np.random.Generator, grid: Lattice, anatomy: Anatomy, tumour: Tumour, *, enhancing: bool = True
) -> Maps:
    """Every voxel's tissue as numbers, with the texture it has; ``enhancing``: the rim leaks contrast agent."""
    fine, patchy, coarse = (grid.noise(rng, scale) for scale in (2.4, 4.5, 9))
    necrosis, rim = tumour.labels == NCR, tumour.labels == ET
    melted = np.clip(0.55 + 0.35 * coarse[necrosis] + 0.12 * fine[necrosis], 0, 1)
    lesion = tumour.labels > 0
    # Tumours are patchier than healthy tissue, and their water and their cells do not vary alike.
    t1_texture = 1 + np.where(lesion, np.float32(0.05), np.float32(0.02)) * (fine + 1.4 * coarse)
    t2_texture = 1 + np.where(lesion, np.float32(0.06), np.float32(0.01)) * (fine + coarse + 1.4 * patchy)

    def mapped(name: str) -> np.ndarray:
        table = np.array([getattr(HEALTHY[index], name) for index in sorted(HEALTHY)], dtype=np.float32)
        oedema, dead, liquid = (getattr(tissue, name) for tissue in (OEDEMA, DEAD, LIQUID))
        values = table[anatomy.tissues]
        values += tumour.wetness * (oedema - values)
        values[necrosis] = dead + melted * (liquid - dead)
        values[rim] = getattr(RIM, name)
        return values

    gadolinium = mapped("gadolinium")
    gadolinium[rim] *= np.exp(0.45 * patchy[rim] + 0.25 * fine[rim] - 0.13)  # the rim leaks here more, there less
    if not enhancing:
        gadolinium[rim] = OEDEMA.gadolinium
    fluid = np.where(necrosis | rim, np.float32(0), anatomy.fluid)
    return Maps(mapped("density"), mapped("t1") * t1_texture, mapped("t2") * t2_texture, gadolinium, fluid)


def acquire(
    rng: np.random.Generator, grid: Lattice, maps: Maps, brain: np.ndarray, acquisition: Acquisition
) -> np.ndarray:
    """One image: signal, partial volume, uneven coil sensitivity, Rician noise, a scale of the scanner's own.

    Returns:
        int16, 0 outside ``brain`` and at least 1 inside.
    """
    csf = HEALTHY[CSF]
    t1 = shortened(maps.t1, maps.gadolinium) if acquisition.contrast else maps.t1
    image = signal(maps.density, t1, maps.t2, acquisition)
    image += maps.fluid * (np.float32(signal(csf.density, csf.t1, csf.t2, acquisition)) - image)
    image = ndimage.gaussian_filter(image, grid.voxels(acquisition.blur), truncate=3)
    inside = image[brain] * np.exp(rng.uniform(0.03, 0.08) * grid.noise(rng, 75)[brain])
    mean = float(inside.mean())
    real, imaginary = rng.uniform(0.012, 0.028) * mean * rng.standard_normal((2, inside.size), dtype=np.float32)
    inside = np.hypot(inside + real, imaginary) * (rng.uniform(150, 900) / mean)
    result = np.zeros(grid.shape, dtype=np.int16)
    result[brain] = np.clip(np.rint(inside), 1, np.iinfo(np.int16).max)
    return result
