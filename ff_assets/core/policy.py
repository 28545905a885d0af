"""How strict a project is about leaks; a flow module may declare one `LeakPolicy`."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from ff_assets.core.errors import DefinitionError, Location, caller_location

Transductive = Literal["refuse", "warn"]


@dataclass(frozen=True)
class LeakPolicy:
    """What a project makes of leaks that can be argued about.

    Args:
        transductive: what to do where features, but no labels, of evaluated rows were read by a
            fit: `refuse` the metric, or `warn`. A metric with that warning never has grade A.
        strict: whether an estimator that is trained on features which have seen their rows' own
            labels is refused. The metric is true all the same, the model worse than it could be.

    Raises:
        DefinitionError: `transductive` is another word.
    """

    transductive: Transductive = "refuse"
    strict: bool = False
    location: Location = field(default_factory=caller_location, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.transductive not in get_args(Transductive):
            raise DefinitionError(
                f"{self.transductive!r} is no way to treat transductive fits.",
                where=[("LeakPolicy(...)", self.location)],
                why="a fit that read features of evaluated rows is refused, or warned of.",
                fix="use 'refuse' or 'warn'.",
            )
