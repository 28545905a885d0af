"""Which arm of an A/B test an entity belongs to: a stable share of keys, by hash.

An entity stays in its arm for as long as the test has its name, on every machine. When the share
grows, entities move from control to treatment and none moves back. The position of a key is

`int(sha256("ab" + 0x1F + test + 0x1F + canonical(key)).hexdigest()[:15], 16) % 1000000`

which is the construct of the split (`core/split.py`) with a text before the key that no split has:
arms are independent of cells, and of the arms of other tests. In Spark it is the same expression
as the split's, `conv(substring(sha2(concat(...), 256), 1, 15), 16, 10) % 1000000`.
"""

from ff_assets.core.split import SEPARATOR

POSITIONS = 1_000_000
CONTROL = "control"
TREATMENT = "treatment"


def prefix(test: str) -> str:
    """What is hashed before the key."""
    return f"ab{SEPARATOR}{test}{SEPARATOR}"


def of_arm(name: str, arm: str) -> str:
    """How what is known of an arm is called; of no arm it has its plain name."""
    return f"{name}_{arm}" if arm else name


def treated_positions(share: float) -> int:
    """How many positions, from 0 on, belong to the treatment.

    Args:
        share: of the entities, above 0 and below 1, in steps of a millionth.

    Raises:
        ValueError: it is no such share.
    """
    positions = round(share * POSITIONS) if 0 < share < 1 else 0
    if not 0 < positions < POSITIONS or abs(positions - share * POSITIONS) > 1e-6:
        raise ValueError(
            f"an A/B test cannot give a share of {share} to the treatment; the share is above 0, "
            "below 1, and has at most six decimals"
        )
    return positions
