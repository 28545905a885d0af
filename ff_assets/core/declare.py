"""Declarations: what a data scientist writes. Nothing here computes or connects anything."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, ParamSpec

from ff_assets.core.errors import (
    DefinitionError,
    InPlaceOverwrite,
    Location,
    caller_location,
    nearest,
)
from ff_assets.core.names import check_name, check_names, check_owner
from ff_assets.core.operations import (
    ColumnOperation,
    Operation,
    column_names,
    spark_operation,
)

P = ParamSpec("P")
Task = Literal["binary", "multiclass", "regression"]
Materialization = Literal["table", "view"]
TASKS: tuple[Task, ...] = ("binary", "multiclass", "regression")


@dataclass(frozen=True)
class Entity:
    """What a row is about.

    Args:
        name: the entity's name, such as `review`.
        key: the column that identifies a row; of a string or integer type, never null.

    Raises:
        DefinitionError: the name or the key cannot be a name.
    """

    name: str
    key: str
    location: Location = field(default_factory=caller_location, compare=False, repr=False)

    def __post_init__(self) -> None:
        check_name("entity", self.name, self.location)
        check_name("key", self.key, self.location)


@dataclass(frozen=True, eq=False)
class Source:
    """A dataset that provides features of an entity.

    Args:
        name: unique among sources and stages.
        entity: what its rows are about.
        load: `load(spark) -> DataFrame`, with the entity's key and every declared feature.
        features: feature name -> Spark SQL type (`"string"`, `"double"`, `"array<string>"`).
        labels: the features that are outcomes. Rows may lack a label (null).
        version: what states the data's version without reading it (a string, or a function
            that returns one, such as a file's hash). Without it the data is read and hashed.
        owner: `team:nlp` or an e-mail address.
        description: Markdown.

    Raises:
        DefinitionError: a name or the owner cannot be one, a label is not among the features, or
            the key is.
    """

    name: str
    entity: Entity
    load: Callable[[Any], Any]
    features: Mapping[str, str]
    labels: Sequence[str] = ()
    version: str | Callable[[], str] | None = None
    owner: str | None = None
    description: str | None = None
    location: Location = field(default_factory=caller_location, repr=False)

    kind = "source"

    def __post_init__(self) -> None:
        here = [(f"source {self.name!r}", self.location)]
        check_name("source", self.name, self.location)
        check_owner(self.owner, here)
        if not isinstance(self.features, Mapping):
            raise DefinitionError(
                f"source `{self.name}` needs a type for each of its features.",
                where=here,
                why=f"it was given {self.features!r}.",
                fix='for example features={"text": "string"}.',
            )
        for name in self.features:
            check_name("feature", name, self.location)
        check_names(f"`labels` of source `{self.name}`", self.labels, here)
        for name in self.labels:
            if name not in self.features:
                raise DefinitionError(
                    f"source `{self.name}` names the label `{name}`, which is not its feature.",
                    where=here,
                    why=nearest(name, self.features),
                    fix="list the label under `features` with its type as well.",
                )
        if self.entity.key.lower() in map(str.lower, self.features):
            raise DefinitionError(
                f"source `{self.name}` declares its key `{self.entity.key}` as a feature.",
                where=here,
                why="the key identifies rows; a model that reads it memorises them.",
                fix="leave the key out of `features`, or load a copy under another name.",
            )

    @property
    def outputs(self) -> tuple[str, ...]:
        return tuple(self.features)

    inputs = fit_inputs = reads = ()


@dataclass(frozen=True, eq=False)
class Stage:
    """A declared computation: features in, features out. Made by `stage` and `feature`.

    Attributes:
        name: unique among sources and stages; the first output unless `named`.
        operation: what it computes.
        inputs: features read whenever it is applied.
        fit_inputs: features read only while it is fitted (label, weight).
        outputs: features it provides.
        entity: the only entity it applies to; `None` for every entity that has its inputs.
        materialization: `table` (stored) or `view` (computed where it is read).
        location: where it is declared.
        owner: `team:nlp` or an e-mail address.
        description: Markdown.

    Raises:
        InPlaceOverwrite: an output is also an input.
        DefinitionError: a name or the owner cannot be one, or one output is named twice.
    """

    name: str
    operation: Operation
    inputs: tuple[str, ...]
    fit_inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    entity: Entity | None
    materialization: Materialization
    location: Location
    owner: str | None = None
    description: str | None = None

    def __post_init__(self) -> None:
        here = [(f"stage {self.name!r}", self.location)]
        check_name("stage", self.name, self.location)
        check_owner(self.owner, here)
        for name in self.outputs:
            check_name("feature", name, self.location)
        overwritten = set(self.outputs) & {*self.inputs, *self.fit_inputs}
        if overwritten:
            names = ", ".join(f"`{name}`" for name in sorted(overwritten))
            raise InPlaceOverwrite(
                f"stage `{self.name}` overwrites its own input {names}.",
                where=here,
                why="a feature name stands for one thing in a variant; reading and providing "
                "it in one stage would make it mean two.",
                fix="give the output a name of its own.",
            )
        if len(set(self.outputs)) != len(self.outputs):
            raise DefinitionError(
                f"stage `{self.name}` provides one feature twice.",
                where=here,
                why=f"its outputs are {', '.join(self.outputs)}.",
                fix="give every output its own name.",
            )

    @cached_property
    def reads(self) -> tuple[str, ...]:
        """Every feature it reads, each once."""
        return tuple(dict.fromkeys([*self.inputs, *self.fit_inputs]))

    @property
    def kind(self) -> Literal["estimator", "transformer"]:
        return "estimator" if self.operation.is_estimator else "transformer"

    def named(self, name: str) -> "Stage":
        """The same stage under another name: what tells providers of one feature apart."""
        return replace(self, name=name)

    def owned_by(self, owner: str) -> "Stage":
        """The same stage with an owner: `team:nlp` or an e-mail address.

        Raises:
            DefinitionError: it is neither.
        """
        return replace(self, owner=owner)

    def described(self, description: str) -> "Stage":
        """The same stage with a description in Markdown."""
        return replace(self, description=description)

    def materialized(self, materialization: Materialization) -> "Stage":
        """The same stage, stored as a `table` or computed where it is read as a `view`.

        Raises:
            DefinitionError: it is another word.
        """
        if materialization not in ("table", "view"):
            raise DefinitionError(
                f"stage `{self.name}` cannot be materialized as {materialization!r}.",
                where=[(f"stage {self.name!r}", self.location)],
                why="rows are either stored or computed where they are read.",
                fix="use 'table' or 'view'.",
            )
        return replace(self, materialization=materialization)

    def of(self, entity: Entity) -> "Stage":
        """The same stage for one entity only, where several have features of these names."""
        return replace(self, entity=entity)


def stage(cls: Callable[P, Any], /, *args: P.args, **params: P.kwargs) -> Stage:
    """Declare a stage: a Spark ML transformer or estimator class with its own parameters.

    Its inputs and outputs are the features named by Spark's column parameters. Outputs that
    are not named stay private to the stage. Nothing is constructed.

    Raises:
        UnknownParameter: the class has no such parameter.
        WrongParameterType: Spark's type converter refuses the value.
        InPlaceOverwrite: an output is also an input.
        DefinitionError: no input or no output is named, an output is named twice, or a name
            cannot be one.
    """
    location = caller_location()
    if args or not isinstance(cls, type):
        raise DefinitionError(
            "stage() takes a Spark class and keyword parameters.",
            where=[("stage(...)", location)],
            why=f"it was given {cls!r}" + (f" and {len(args)} positional values" if args else ""),
            fix='for example stage(RegexTokenizer, inputCol="text", outputCol="tokens").',
        )
    operation = spark_operation(cls, params, location)
    outputs = column_names(operation.writes)
    return Stage(
        name=outputs[0],
        operation=operation,
        inputs=tuple(dict.fromkeys(column_names(operation.reads))),
        fit_inputs=tuple(dict.fromkeys(column_names(operation.fit_reads))),
        outputs=outputs,
        entity=None,
        materialization="table" if operation.is_estimator else "view",
        location=location,
    )


def feature(*, entity: Entity, owner: str | None = None) -> Callable[[Callable[..., Any]], Stage]:
    """Declare a row-wise feature as a function of Spark columns.

    The function's parameter names are the features it reads, its own name is the feature it
    provides, and its docstring is the description.

    Raises:
        InPlaceOverwrite: it reads the feature that it provides.
        DefinitionError: it has no parameters, or some with defaults, `*` or `**`; or the owner
            cannot be one.
    """

    def declare(function: Callable[..., Any]) -> Stage:
        location = Location(function.__code__.co_filename, function.__code__.co_firstlineno)
        parameters = inspect.signature(function).parameters.values()
        if not parameters or any(
            p.kind is not p.POSITIONAL_OR_KEYWORD or p.default is not p.empty for p in parameters
        ):
            raise DefinitionError(
                f"feature `{function.__name__}` must have plain parameters, at least one.",
                where=[(f"feature {function.__name__!r}", location)],
                why="every parameter is the name of a feature that the function reads.",
                fix=f"for example def {function.__name__}(text: Column) -> Column.",
            )
        return Stage(
            name=function.__name__,
            operation=ColumnOperation(function),
            inputs=tuple(p.name for p in parameters),
            fit_inputs=(),
            outputs=(function.__name__,),
            entity=entity,
            materialization="view",
            location=location,
            owner=owner,
            description=inspect.getdoc(function),
        )

    return declare


@dataclass(frozen=True, eq=False)
class Target:
    """Outputs that are wanted, and how their quality is measured.

    Args:
        name: unique among targets; also the name of the registered model.
        outputs: features to derive; the first is the prediction that is measured.
        keep: features to keep beside the predictions.
        label: the feature that holds the truth. Rows where it is null are not measured.
        task: `binary`, `multiclass` or `regression`; decides the metrics.
        entity: what is predicted about; needed only where the names leave it open.
        choose: feature -> names of the providers that may be used for it.
        max_variants: more variants than this are refused.
        owner: `team:nlp` or an e-mail address.
        description: Markdown.

    Raises:
        DefinitionError: there are no outputs, the task is unknown, one of label and task is
            missing, or a name or the owner cannot be one.
    """

    name: str
    outputs: Sequence[str]
    keep: Sequence[str] = ()
    label: str | None = None
    task: Task | None = None
    entity: Entity | None = None
    choose: Mapping[str, Sequence[str]] = field(default_factory=dict)
    max_variants: int = 16
    owner: str | None = None
    description: str | None = None
    location: Location = field(default_factory=caller_location, repr=False)

    def __post_init__(self) -> None:
        here = [(f"target {self.name!r}", self.location)]
        check_name("target", self.name, self.location)
        check_owner(self.owner, here)
        check_names(f"`outputs` of target `{self.name}`", self.outputs, here)
        check_names(f"`keep` of target `{self.name}`", self.keep, here)
        for feature, providers in self.choose.items():
            what = f"`choose` of target `{self.name}` for `{feature}`"
            check_names(what, providers, here)
        if not self.outputs:
            raise DefinitionError(
                f"target `{self.name}` has no outputs.",
                where=here,
                why="the flow is inferred backwards from the outputs that are wanted.",
                fix='for example outputs=["sentiment"].',
            )
        if self.max_variants < 1:
            raise DefinitionError(
                f"target `{self.name}` allows {self.max_variants} variants.",
                where=here,
                why="a target that can be derived has at least one variant.",
                fix="allow at least one, or leave `max_variants` out for 16.",
            )
        if (self.label is None) != (self.task is None):
            raise DefinitionError(
                f"target `{self.name}` has {'a task' if self.task else 'a label'} only.",
                where=here,
                why="metrics need the label (the truth) and the task (how it is compared).",
                fix="declare both, or neither for a target that is not measured.",
            )
        if self.task is not None and self.task not in TASKS:
            raise DefinitionError(
                f"target `{self.name}` has the unknown task {self.task!r}.",
                where=here,
                why=nearest(self.task, TASKS),
                fix=f"use one of {', '.join(TASKS)}.",
            )

    @property
    def wanted(self) -> tuple[str, ...]:
        """Every feature that a variant has to derive."""
        return tuple(dict.fromkeys([*self.outputs, *self.keep, *filter(None, [self.label])]))


Provider = Source | Stage
Declaration = Source | Stage | Target


def describe(declaration: Declaration) -> tuple[str, Location]:
    """A declaration and its place, as an error shows them."""
    return f"{type(declaration).__name__.lower()} {declaration.name!r}", declaration.location
