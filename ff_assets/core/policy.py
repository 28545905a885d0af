"""What a project permits; a flow module may declare one `LeakPolicy` and one `Governance`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from ff_assets.core.errors import DefinitionError, Location, caller_location, nearest
from ff_assets.core.names import check_name, check_names

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


@dataclass(frozen=True)
class Governance:
    """Where sensitive data may not go, and whether somebody has to answer for what is declared.

    Args:
        deny: sensitivity tag -> patterns of asset keys that must not carry it, such as
            `{"pii": ["predictions/*", "features/*_vector"]}`. `*` stands for any text. What is
            denied in `notebooks/*`, or in that of a feature, `ff_assets.read` and `read_many`
            refuse; everything else is refused when the definitions load.
        owners: whether every source and every target has to name an owner.

    Raises:
        DefinitionError: a tag cannot be one, or patterns are no list.
    """

    deny: Mapping[str, Sequence[str]] = field(default_factory=dict)
    owners: bool = True
    location: Location = field(default_factory=caller_location, compare=False, repr=False)

    def __post_init__(self) -> None:
        here = [("Governance(...)", self.location)]
        if not isinstance(self.deny, Mapping):
            raise DefinitionError(
                "`deny` must say for each tag where it must not go.",
                where=here,
                why=f"it was given {self.deny!r}.",
                fix='for example deny={"pii": ["predictions/*"]}.',
            )
        for tag, patterns in self.deny.items():
            check_name("tag", tag, self.location)
            check_names(f"`deny` for `{tag}`", patterns, here)


@dataclass(frozen=True)
class Declassified:
    """A statement that outputs of a stage tell nothing that a sensitivity tag is about.

    Attributes:
        tags: those that end here.
        because: the reason.
        outputs: the features that it is about; `None` for all that the stage makes, private
            columns too.
    """

    tags: tuple[str, ...]
    because: str
    outputs: tuple[str, ...] | None

    def is_about(self, name: str | None) -> bool:
        """Whether it is about a column; the model of a stage (`None`) keeps its tags."""
        return name is not None and (self.outputs is None or name in self.outputs)


def declassification(
    stage: str,
    provided: tuple[str, ...],
    tags: tuple[str, ...],
    because: str,
    outputs: Sequence[str] | None,
    here: list[tuple[str, Location]],
) -> Declassified:
    """What `Stage.declassified` states, if it can be said of the stage.

    Args:
        provided: the features of the stage.
        outputs: those of them that it is about; `None` for all that it makes.
    """
    for tag in tags:
        check_name("tag", tag, here[0][1])
    about = provided if outputs is None else outputs
    check_names(f"`outputs` that stage `{stage}` declassifies", about, here)
    if not tags or not about or not isinstance(because, str) or not because.strip():
        raise DefinitionError(
            f"stage `{stage}` declassifies without "
            + ("a tag." if not tags else "an output." if not about else "a reason."),
            where=here,
            why="whoever finds that a tag ends here has to see which one, and what makes it safe.",
            fix='for example .declassified("pii", because="five age bands, thousands in each").',
        )
    for output in about:
        if output not in provided:
            raise DefinitionError(
                f"stage `{stage}` declassifies `{output}`, which it does not provide.",
                where=here,
                why=nearest(output, provided),
                fix="name its own outputs, or leave `outputs` out for all of them.",
            )
    return Declassified(tags, because.strip(), None if outputs is None else tuple(about))
