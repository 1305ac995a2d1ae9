"""Who is asked in a round.

Guarantees: a server's secret draw takes each person by a coin of its own, with the
plan's chance, and is drawn again only if more people come than a threshold exists for;
nothing about answers or earlier rounds enters it. Does not give: secrecy from the
people who are drawn, who see one another.
"""

import numpy as np

from fedpref.core.entropy import Entropy, uniform_words
from fedpref.core.types import Participation
from fedpref.plan import PrivacyPlan


def cohort(plan: PrivacyPlan, attempt: int, *, entropy: Entropy) -> tuple[int, ...]:
    """Device numbers for request ``attempt``, rising.

    Args:
        plan: The sealed plan.
        attempt: Number of the request; every one is drawn anew.
        entropy: Source of the coins.
    """
    spec = plan.spec
    everybody = tuple(range(1, spec.units + 1))
    if spec.participation in (Participation.ALL, Participation.HIDDEN):
        return everybody
    redraw = 0
    while True:
        key = entropy.key(f"cohort/{plan.digest.hex()}/{attempt}/{redraw}")
        words = uniform_words(spec.units, key=key)
        if spec.participation is Participation.FIXED:
            named = np.argsort(words, kind="stable")[: spec.cohort] + 1
            return tuple(sorted(int(number) for number in named))
        border = np.uint64(min(2**64 - 1, spec.cohort * 2**64 // spec.units))
        drawn = tuple(int(number) for number in np.flatnonzero(words < border) + 1)
        if len(drawn) <= spec.counts.largest:
            return drawn
        redraw += 1
