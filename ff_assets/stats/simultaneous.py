"""Intervals and p-values of several differences that hold all together."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]

LEVEL = 0.05
"""How often any of the intervals may miss, if nothing is said."""


class Together(NamedTuple):
    """What holds for k differences at once.

    Attributes:
        half: half the width of each interval, (k,).
        p: p-value of each on its own, (k,).
        p_adjusted: the same among all, (k,): below the level where the interval excludes 0, and
            nowhere else.
    """

    half: Floats
    p: Floats
    p_adjusted: Floats


def together(
    values: Floats, error: Floats, noise: Floats | None, freedom: int, level: float = LEVEL
) -> Together:
    """Single-step max-t: Westfall & Young (1993), section 2.5; Hothorn, Bretz & Westfall (2008).

    The interval reaches as far as the largest of all the noises does in all draws but a share of
    `level`. Unlike
    Holm's and Bonferroni's corrections it uses how the differences are correlated (those of k
    variants are, much), and its intervals and p-values never contradict each other, which
    Holm's, having no intervals of their own, may do.

    Args:
        values: the differences, (k,).
        error: their standard errors, (k,), all above 0.
        noise: draws of what the differences might be off by, in standard errors, (draws, k). With
            fewer than `1 / level` draws the normal distribution stands in for what is further out.
            None for a single difference whose noise is normal; there is nothing to draw then.
        freedom: degrees of freedom of the standard errors, by which Student's t takes the place
            of the normal distribution: with few groups an error is itself uncertain.
        level: how often any of the intervals may miss.
    """
    import numpy as np
    from scipy.special import ndtr, ndtri, stdtr, stdtrit

    z = -ndtri(stdtr(freedom, -np.abs(values / error)))  # as far out, were it normal
    if noise is None:
        critical = -ndtri(level / 2)
        p = p_adjusted = 2 * ndtr(-z)
    else:
        size = np.sort(np.abs(noise), axis=0)
        largest = np.sort(np.abs(noise).max(axis=1))
        draws = len(largest)
        # the first beyond which the share, the data counted in, is below the level
        beyond = draws + 1 - ceil(level * (draws + 1))
        if beyond < draws:
            critical = largest[beyond]
        else:  # so far out there are no draws: the normal distribution, among k (Bonferroni)
            critical = max(largest[-1], -ndtri(level / (2 * len(values))))
        p = np.array([_share_beyond(*pair) for pair in zip(size.T, z, strict=True)])
        p_adjusted = np.array([_share_beyond(largest, one) for one in z])
    reach = -stdtrit(freedom, ndtr(-critical))
    return Together(reach * error, p, p_adjusted)


def _share_beyond(ascending: Floats, value: float) -> float:
    """The share of draws at least as far out, with the data themselves as one more draw."""
    import numpy as np

    draws = len(ascending)
    return float(1 + draws - np.searchsorted(ascending, value, side="left")) / (1 + draws)
