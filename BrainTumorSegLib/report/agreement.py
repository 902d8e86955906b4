"""Agreement of two ways to measure a volume (Bland and Altman, Lancet 1986; Lin, Biometrics 1989)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

_LIMIT = 1.96  # standard deviations that hold 95 % of normally distributed differences


@dataclass(frozen=True)
class VolumeAgreement:
    """Predicted against reference volumes of a region, in millilitres, one a case.

    Attributes:
        region: its name.
        predicted, reference: the volumes, in the same order.
    """

    region: str
    predicted: tuple[float, ...]
    reference: tuple[float, ...]

    @classmethod
    def of(cls, region: str, pairs: Sequence[tuple[float, float]]) -> VolumeAgreement:
        """From pairs (predicted, reference)."""
        return cls(region, tuple(p for p, _ in pairs), tuple(r for _, r in pairs))

    @property
    def n(self) -> int:
        """How many cases."""
        return len(self.predicted)

    @property
    def differences(self) -> np.ndarray:
        """Predicted − reference, shape ``(N,)``."""
        return np.subtract(self.predicted, self.reference)

    @property
    def means(self) -> np.ndarray:
        """Mean of predicted and reference, shape ``(N,)``."""
        return np.add(self.predicted, self.reference) / 2

    @property
    def bias(self) -> float:
        """Mean difference; NaN without cases."""
        return float(self.differences.mean()) if self.n else float("nan")

    @property
    def sd(self) -> float:
        """Standard deviation of the differences (ddof 1: cases are a sample); NaN for fewer than two cases."""
        return float(self.differences.std(ddof=1)) if self.n > 1 else float("nan")

    @property
    def lower(self) -> float:
        """Lower limit of agreement: bias − 1.96 standard deviations."""
        return self.bias - _LIMIT * self.sd

    @property
    def upper(self) -> float:
        """Upper limit of agreement: bias + 1.96 standard deviations."""
        return self.bias + _LIMIT * self.sd

    @property
    def bias_interval(self) -> tuple[float, float]:
        """95 % confidence interval of the bias (Student's t)."""
        half = self._t * self.sd / np.sqrt(max(self.n, 1))
        return self.bias - half, self.bias + half

    @property
    def limit_error(self) -> float:
        """Half the 95 % confidence interval of each limit: t · √(3 s² / n), as Bland and Altman have it."""
        return float(self._t * np.sqrt(3 * self.sd**2 / max(self.n, 1)))

    @property
    def concordance(self) -> float:
        """Lin's concordance correlation coefficient; NaN where volumes do not vary."""
        if self.n < 2:
            return float("nan")
        predicted, reference = np.asarray(self.predicted), np.asarray(self.reference)
        shared = np.mean((predicted - predicted.mean()) * (reference - reference.mean()))
        spread = predicted.var() + reference.var() + (predicted.mean() - reference.mean()) ** 2
        return float(2 * shared / spread) if spread else float("nan")

    @property
    def _t(self) -> float:
        return float(stats.t.ppf(0.975, self.n - 1)) if self.n > 1 else float("nan")
