"""What a claim of (epsilon, delta) allows any attack on membership to reach.

Guarantees: ``tpr`` and ``auc`` bound every attack, however strong, on a release with
the claimed privacy, where a member is present in one world and absent in the other and
everything else has the same law in both.

Does not give: a proof of the claim. An attack that stays below says nothing about a
stronger one; an attack above refutes it.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import exp, inf, isinf, sqrt

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from fedpref.audit.roc import FPR, Reached
from fedpref.core.gaussian import gaussian_epsilon
from fedpref.errors import AuditError, InputError


@dataclass(frozen=True)
class Claim:
    """The privacy of one person that a sealed plan claims.

    Args:
        epsilon: Of all releases together; infinite without noise, which claims nothing.
        delta: At least 0 and below 1.

    Raises:
        InputError: These are not an epsilon and a delta.
    """

    epsilon: float
    delta: float

    def __post_init__(self) -> None:
        if not self.epsilon >= 0 or not 0 <= self.delta < 1:
            raise InputError(
                f"epsilon = {self.epsilon:g}, must be >= 0; delta = {self.delta:g}, "
                "must be >= 0 and < 1"
            )

    @cached_property
    def mu(self) -> float:
        """Of the Gaussian mechanism with this price; infinite where there is none.

        Dong, Roth and Su (2022), corollary 2.13, solved for mu. It describes noise
        that is Gaussian or priced as such; for other mechanisms it is no bound.
        """
        if isinf(self.epsilon) or self.delta == 0:
            return inf
        if self.epsilon == 0:
            return 2 * float(ndtri((1 + self.delta) / 2))

        def excess(mu: float) -> float:
            return gaussian_epsilon(Fraction(mu) ** 2, self.delta) - self.epsilon

        high = 1.0
        while excess(high) < 0:
            high *= 2
        return float(brentq(excess, 1e-9, high, xtol=1e-9)) + 2e-9

    def tpr(self, fpr: float = FPR) -> float:
        """Largest true positive rate at this false positive rate.

        From (epsilon, delta) alone: Kairouz, Oh and Viswanath (2015), theorem 2.1.
        """
        if isinf(self.epsilon):
            return 1.0
        up = exp(min(self.epsilon, 700.0))
        return min(1.0, up * fpr + self.delta, 1 - (1 - self.delta - fpr) / up)

    def gaussian_tpr(self, fpr: float = FPR) -> float:
        """The same for Gaussian noise of this price: Phi(Phi^-1(fpr) + mu)."""
        return float(ndtr(ndtri(fpr) + self.mu))

    @property
    def auc(self) -> float:
        """Largest area from (epsilon, delta) alone: that under :meth:`tpr`."""
        if isinf(self.epsilon):
            return 1.0
        up = exp(min(self.epsilon, 700.0))
        corner = (1 - self.delta) / (1 + up)  # of false positives, where the lines meet
        fpr = np.array([0.0, corner, 1 - self.delta, 1.0])
        tpr = np.array([self.delta, 1 - corner, 1.0, 1.0])
        return float(np.trapezoid(tpr, fpr))

    @property
    def gaussian_auc(self) -> float:
        """Largest area for Gaussian noise of this price: Phi(mu / sqrt 2)."""
        return float(ndtr(self.mu / sqrt(2)))

    def require(self, found: Reached, *, name: str) -> None:
        """Refuse an attack whose 95 % interval lies above what is claimed.

        Raises:
            AuditError: Area or true positive rate is above the bound of the claim, by
                (epsilon, delta) and for Gaussian noise of that price.
        """
        checks = (
            ("AUC", found.auc_ci95[0], min(self.auc, self.gaussian_auc)),
            ("TPR", found.tpr_ci95[0], min(self.tpr(), self.gaussian_tpr())),
        )
        for what, low, bound in checks:
            if low > bound:
                raise AuditError(
                    f"{name}: {what} = at least {low:.3f} (95 %), the claim of epsilon "
                    f"{self.epsilon:.3g} at delta {self.delta:g} allows {bound:.3f}; "
                    "do not release: look for what leaves without noise or clip"
                )
