"""The prior of personal weights: a public constant, or a released second moment.

Guarantees: ``covariance`` is symmetric and positive definite whatever noise the release
carries, and it is post-processing of the release and of public constants. Does not clip
or add noise: that is the plan's part.
"""

import numpy as np

from fedpref.core.moments import svec, unsvec
from fedpref.core.types import Float
from fedpref.errors import InputError

__all__ = ["covariance", "isotropic", "svec", "unsvec"]


def isotropic(dimension: int, spread: float) -> Float:
    """The public prior covariance ``spread**2 I``, ``[d, d]``.

    Raises:
        InputError: ``spread`` is not positive and finite.
    """
    if not 0 < spread < np.inf:
        raise InputError(
            f"spread = {spread}, must be positive and finite: it is the standard "
            "deviation of a personal weight"
        )
    return np.asarray(spread**2 * np.eye(dimension))


def covariance(mean: Float, *, floor: float, inflation: float) -> Float:
    """Prior covariance ``[d, d]`` from the released mean of ``svec``.

    Eigenvalues below ``floor`` are raised to it; then all are multiplied by
    ``inflation``, because offsets that were found under a prior are too short.

    Args:
        mean: released sum of ``svec`` over a public number of people, ``[d (d+1)/2]``.
        floor: least variance in any direction, positive, a public constant.
        inflation: positive, a public constant.

    Raises:
        InputError: a constant is not positive, ``mean`` is not finite, or no eigenvalue
            exceeds the floor, so that the release says nothing.

    >>> mean = svec(np.array([2.0, 0.0]))
    >>> covariance(mean, floor=0.5, inflation=1.5).tolist()
    [[6.0, 0.0], [0.0, 0.75]]
    """
    if not (0 < floor < np.inf and 0 < inflation < np.inf):
        raise InputError(
            f"floor = {floor}, inflation = {inflation}: both must be positive and "
            "finite; they are public constants"
        )
    if not np.isfinite(mean).all():
        raise InputError("moments: not finite; use the public prior instead")
    values, vectors = np.linalg.eigh(unsvec(mean))
    if not values[-1] > floor:
        raise InputError(
            f"largest released variance = {values[-1]:.3g}, must exceed the floor "
            f"{floor:.3g}: the moment projects to zero everywhere; raise its budget, "
            "or use the public prior"
        )
    scaled = vectors * (np.maximum(values, floor) * inflation)
    matrix = scaled @ vectors.T
    return np.asarray((matrix + matrix.T) / 2)
