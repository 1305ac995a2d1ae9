"""Public constants of the studies: one place, set before anybody is asked.

Guarantees: nothing in here is computed from answers at run time, so it costs nothing.

Does not give: constants that nobody looked at people for. Rounds, rates, clips and
priors were chosen on the people of these very sets, on other splits than the reported
ones where that was possible; epsilon does not cover that choice (docs/study.md).
"""

from dataclasses import dataclass, field, replace
from fractions import Fraction

MOMENTUM = 0.9
AVERAGE_LAST = 0.5
MIN_SURVIVORS = 0.9
COLLUDERS = 0.1
MOMENT_FACTOR = 2.0
MOMENT_FLOOR = 0.25


@dataclass(frozen=True)
class Learning:
    """How one vector is learned together.

    Args:
        rounds: Noisy sums released.
        lr: Step of momentum SGD on the mean clipped gradient, in clips.
        clip: Largest norm of one person's summed gradient.
    """

    rounds: int
    lr: float
    clip: float


@dataclass(frozen=True)
class Settings:
    """The public constants of one set.

    Args:
        directions: Whitened directions of the embeddings, the weights learned.
        weights: How the pooled weights are learned.
        prior: Standard deviation of one personal weight, the public prior.
        basis: How weights and basis are learned together.
        rank: Directions of the basis, K.
        basis_length: Length of each direction before training.
        basis_scale: Scale of the basis's trained numbers.
        prototypes: How cluster prototypes are learned.
        clusters: How many there are.
        moment_norm: Largest norm of an offset in the release of second moments, in
            units of ``prior * sqrt(directions)``.
        moment_share: Part of the budget (of mu squared) that this release takes.
        moment_factor: What its mean is multiplied by: offsets that were fitted to few
            answers are shorter than the true ones.
        moment_floor: Least eigenvalue kept, in units of ``prior**2``.
        moment_from: Smallest total epsilon at which the release is made; below, its
            noise costs more than it tells and the public prior is used.
        basis_cap: Longest direction of the basis that a device uses, as the standard
            deviation of a person along it: training lengthens them without end.
        basis_floor: Variance of a personal weight outside the basis.
        noise: Standard deviation of a rating given a person's own weights.
        noise_over_people: The same given the pooled weights.
        offsets: Whether people send their most probable offset under the public prior
            in place of a gradient, while weights are learned (``sent.offset_rows``).
        level: While ratings are learned from together, their constant feature counts
            this instead of 1, but not where offsets are sent. It is longer than any of
            the others, and would fill the clip and make long steps unstable.
        ks: Own answers revealed, unless asked for otherwise.
        draws: Draws of which answers are revealed, for each seed.
    """

    directions: int
    weights: Learning
    prior: float
    basis: Learning
    rank: int
    basis_length: float
    basis_scale: float
    prototypes: Learning
    clusters: int
    moment_norm: float = 0.5
    moment_share: Fraction = field(default=Fraction(1, 2))
    moment_factor: float = 1.5
    moment_floor: float = 0.02
    moment_from: float = 0.75
    basis_cap: float = 2.5
    basis_floor: float = 2.0
    noise: float = 0.5
    noise_over_people: float = 0.6
    offsets: bool = False
    level: float = 1.0
    ks: tuple[int, ...] = (0, 1, 2, 4, 8)
    draws: int = 3


def level_of(settings: Settings, *, weights: bool) -> float:
    """What the constant feature counts while weights alone, or more, are learned."""
    return 1.0 if weights and settings.offsets else settings.level


def settings_of(name: str) -> Settings:
    """The constants of a set; those of an unknown one are those of ``DEFAULT``."""
    return BY_NAME.get(name, DEFAULT)


_HEAD = Learning(rounds=8, lr=1.0, clip=6.0)
_LONG = Learning(rounds=20, lr=1.0, clip=4.0)

DEFAULT = Settings(
    directions=16,
    weights=_HEAD,
    prior=2.5,
    basis=_LONG,
    rank=4,
    basis_length=1.0,
    basis_scale=1.0,
    prototypes=_LONG,
    clusters=4,
)

_DRONE = Learning(rounds=20, lr=3.0, clip=1.0)

BY_NAME: dict[str, Settings] = {
    "electricity": replace(
        DEFAULT,
        moment_share=Fraction(1, 4),
        moment_factor=MOMENT_FACTOR,
        moment_floor=MOMENT_FLOOR,
        ks=(0, 1, 2, 4, 6, 8),
    ),
    "drone-delivery-privacy-choices": replace(
        DEFAULT,
        directions=32,
        weights=_DRONE,
        prior=4.0,
        basis=_DRONE,
        prototypes=_DRONE,
        moment_norm=0.3,
        draws=1,
    ),
    # Nine answers a person; pooling needs many directions and rounds here.
    "swissmetro": replace(
        DEFAULT,
        directions=128,
        weights=Learning(rounds=60, lr=3.0, clip=1.0),
        ks=(0, 1, 2, 4),
        draws=1,
    ),
    # Eight answers a person here and below: after four of them four are left to ask.
    "ridehail-privacy-choices": replace(
        DEFAULT, weights=Learning(rounds=8, lr=1.0, clip=3.0), ks=(0, 1, 2, 4)
    ),
    "vod-privacy-choices": replace(DEFAULT, ks=(0, 1, 2, 4), draws=1),
    "vod-privacy-choices-study2": replace(DEFAULT, ks=(0, 1, 2, 4), draws=1),
    "chatbot-privacy-vignettes": replace(
        DEFAULT,
        directions=32,
        weights=Learning(rounds=8, lr=0.5, clip=0.7),
        offsets=True,
        level=0.25,
        prior=0.4,
        noise=0.3,
        basis=Learning(rounds=20, lr=0.3, clip=5.0),
        basis_length=0.5,
        basis_floor=0.06,
        basis_cap=1.0,
        # 561 numbers from 240 people: below, its noise is larger than any variance.
        moment_from=3.0,
        moment_factor=2.0,
        ks=(0, 1, 5, 10, 20),
    ),
    "argument-convincingness-prefs": replace(
        DEFAULT,
        directions=128,
        weights=Learning(rounds=20, lr=3.0, clip=2.0),
        draws=1,
    ),
}
