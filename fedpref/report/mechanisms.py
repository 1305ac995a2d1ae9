"""What one release is, in words."""

from math import sqrt

from fedpref.core.events import (
    Event,
    GaussianSum,
    NonPrivate,
    PoissonGaussianSum,
    PoissonSkellamSum,
    RandomisedResponse,
    SkellamSum,
)
from fedpref.errors import InputError


def mechanism(event: Event) -> str:
    """What one round releases.

    Raises:
        InputError: No wording is written for the event.
    """
    if isinstance(event, NonPrivate):
        return "sums without noise"
    if isinstance(event, RandomisedResponse):
        kept = f"kept with chance {float(event.keep):.4g}"
        return f"labels of {event.options} options, {kept}"
    if isinstance(event, GaussianSum | PoissonGaussianSum):
        made = "sums with Gaussian noise"
    elif isinstance(event, SkellamSum | PoissonSkellamSum):
        made = "sums with Skellam noise that the devices add"
    else:
        raise InputError(
            f"event = {type(event).__name__}: no statement is written for it; use a "
            "version of fedpref that knows it"
        )
    multiplier = sqrt(event.variance / event.sensitivity_squared)
    made += f", multiplier {multiplier:.4g}"
    if isinstance(event, PoissonGaussianSum | PoissonSkellamSum):
        chance = f"{float(event.sampling_prob):.4g}"
        made += f", of {event.unit}s drawn in secret, each with chance {chance}"
    return made


def released(event: Event) -> str:
    """The same with how many numbers one round releases, where it is a sum."""
    coordinates = getattr(event, "coordinates", None)
    if coordinates is None:
        return mechanism(event)
    return f"{mechanism(event)}; {coordinates} number{'' if coordinates == 1 else 's'}"
