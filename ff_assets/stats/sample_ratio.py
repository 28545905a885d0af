"""Whether the arms of an A/B test have the sizes that its shares say.

A mismatch means that something other than the hash decides who is counted: lost rows, a filter
that treats the arms differently, bots. Then the effect is of that, too, and not to be believed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, isclose, lgamma, log

ALPHA = 0.01
"""In how many tests without a mismatch one may be reported, at any of the looks."""

_CONCENTRATION = 100.0  # a prior on shares some 5 points around those stated


@dataclass(frozen=True)
class SampleRatio:
    """Counted against stated shares.

    Args:
        shares: arm -> counted share of the entities.
        p: anytime-valid p-value of the stated shares: right at every look.
    """

    shares: Mapping[str, float]
    p: float

    @property
    def mismatch(self) -> bool:
        """Whether the stated shares are refuted, however often one has looked."""
        return self.p < ALPHA


def sample_ratio(entities: Mapping[str, int], shares: Mapping[str, float]) -> SampleRatio:
    """Test the sizes of the arms.

    The anytime-valid test is the Dirichlet-multinomial mixture of Lindon & Malek, "Anytime-valid
    inference for multinomial count data", NeurIPS 2022: p is 1 over the Bayes factor, which under
    the stated shares exceeds 1 / alpha at any time with a probability of at most alpha.

    Args:
        entities: arm -> how many entities it has, each counted once, however often it came.
        shares: the same arms -> stated share; they add up to 1.

    Raises:
        ValueError: the arms differ, there is no entity, or a share is not above 0 or all of them
            do not add up to 1.
    """
    if set(entities) != set(shares):
        raise ValueError(
            f"arms are counted for {sorted(entities)}, and stated for {sorted(shares)}"
        )
    if min(shares.values()) <= 0 or not isclose(sum(shares.values()), 1):
        raise ValueError(f"shares are above 0 and add up to 1; these are {dict(shares)}")
    total = sum(entities.values())
    if total == 0 or min(entities.values()) < 0:
        raise ValueError(f"there is no entity, or fewer: {dict(entities)}")

    log_factor = lgamma(_CONCENTRATION) - lgamma(_CONCENTRATION + total)
    for arm, share in shares.items():
        count, prior = entities[arm], _CONCENTRATION * share
        log_factor += lgamma(prior + count) - lgamma(prior) - count * log(share)
    return SampleRatio(
        shares={arm: count / total for arm, count in entities.items()},
        p=exp(min(0.0, -log_factor)),
    )
