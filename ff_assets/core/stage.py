"""Stages: declared computations from features to features. Nothing here computes anything."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, ParamSpec

from ff_assets.core.cells import TRAIN
from ff_assets.core.entities import Entity
from ff_assets.core.errors import DefinitionError, InPlaceOverwrite, Location, caller_location
from ff_assets.core.fitting import Fitting
from ff_assets.core.names import check_name, check_names, check_owner
from ff_assets.core.operations import (
    AggregateOperation,
    Attested,
    ColumnOperation,
    Operation,
    PretrainedOperation,
    column_names,
)
from ff_assets.core.policy import Declassified, declassification
from ff_assets.core.spark_classes import spark_operation

P = ParamSpec("P")
Materialization = Literal["table", "view"]


@dataclass(frozen=True, eq=False)
class Stage:
    """A declared computation: features in, features out. Made by `stage`, `feature` and others.

    Attributes:
        name: unique among sources and stages; the first output unless `named`.
        operation: what it computes.
        inputs: features read whenever it is applied.
        fit_inputs: features read only while it is fitted (label, weight).
        outputs: features it provides.
        entity: the only entity it applies to; `None` for every entity that has its inputs.
        materialization: `table` (stored) or `view` (computed where it is read).
        location: where it is declared.
        fitting: on which rows it is fitted, if it is an estimator.
        owner: `team:nlp` or an e-mail address.
        description: Markdown.
        declassifications: sensitivity tags that its outputs do not carry, and why.

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
    fitting: Fitting = field(default_factory=Fitting)
    owner: str | None = None
    description: str | None = None
    declassifications: tuple[Declassified, ...] = ()

    def __post_init__(self) -> None:
        check_name("stage", self.name, self.location)
        check_owner(self.owner, self._here)
        for name in self.outputs:
            check_name("feature", name, self.location)
        overwritten = set(self.outputs) & {*self.inputs, *self.fit_inputs}
        if overwritten and self.read_entity is self.entity:
            names = ", ".join(f"`{name}`" for name in sorted(overwritten))
            raise InPlaceOverwrite(
                f"stage `{self.name}` overwrites its own input {names}.",
                where=self._here,
                why="a feature name stands for one thing in a variant; reading and providing "
                "it in one stage would make it mean two.",
                fix="give the output a name of its own.",
            )
        if len(set(self.outputs)) != len(self.outputs):
            raise DefinitionError(
                f"stage `{self.name}` provides one feature twice.",
                where=self._here,
                why=f"its outputs are {', '.join(self.outputs)}.",
                fix="give every output its own name.",
            )

    @property
    def _here(self) -> list[tuple[str, Location]]:
        return [(f"stage {self.name!r}", self.location)]

    @cached_property
    def reads(self) -> tuple[str, ...]:
        """Every feature it reads, each once."""
        return tuple(dict.fromkeys([*self.inputs, *self.fit_inputs]))

    @property
    def read_entity(self) -> Entity | None:
        """The entity whose features it reads: another one than its own for an aggregate."""
        operation = self.operation
        return operation.of if isinstance(operation, AggregateOperation) else self.entity

    @property
    def kind(self) -> Literal["estimator", "transformer", "aggregate"]:
        if isinstance(self.operation, AggregateOperation):
            return "aggregate"
        return "estimator" if self.operation.is_estimator else "transformer"

    def named(self, name: str) -> "Stage":
        """The same stage under another name: what tells providers of one feature apart."""
        return replace(self, name=name)

    def owned_by(self, owner: str) -> "Stage":
        """The same stage with an owner: `team:nlp` or an e-mail address."""
        return replace(self, owner=owner)

    def described(self, description: str) -> "Stage":
        """The same stage with a description in Markdown."""
        return replace(self, description=description)

    def materialized(self, materialization: Materialization) -> "Stage":
        """The same stage, stored as a `table` or computed where it is read as a `view`.

        Raises:
            DefinitionError: it is another word, or a view of what has to be stored.
        """
        stored = isinstance(self.operation, AggregateOperation)
        if materialization not in ("table", "view") or (stored and materialization == "view"):
            raise DefinitionError(
                f"stage `{self.name}` cannot be materialized as {materialization!r}.",
                where=self._here,
                why="rows are either stored or computed where they are read"
                + ("; an aggregate reads all rows of another entity." if stored else "."),
                fix="use 'table'." if stored else "use 'table' or 'view'.",
            )
        return replace(self, materialization=materialization)

    def of(self, entity: Entity) -> "Stage":
        """The same stage for one entity only, where several have features of these names."""
        return replace(self, entity=entity)

    def declassified(
        self, *tags: str, because: str, outputs: Sequence[str] | None = None
    ) -> "Stage":
        """The same stage, whose outputs do not carry sensitivity tags of what it reads.

        A model that it fits still does: it may have memorised what it read.

        Args:
            because: why nothing sensitive can be told from them; shown wherever a tag ends.
            outputs: the features that it is said of; all that it makes if left out, the columns
                that Spark adds as well (`rawPrediction` and the like).

        Raises:
            DefinitionError: no tag or no reason is given, or an output is not its own.
        """
        ended = declassification(self.name, self.outputs, tags, because, outputs, self._here)
        return replace(self, declassifications=(*self.declassifications, ended))

    def fit_on(self, *cells: str) -> "Stage":
        """The same estimator, fitted on all rows of these cells instead of train.

        An evaluation on a cell that it was fitted on is refused.

        Raises:
            DefinitionError: it is no estimator, or no cell is named.
        """
        self._refuse_unless_estimator("fit_on")
        check_names(f"cells of stage `{self.name}`", cells, self._here)
        if not cells:
            raise DefinitionError(
                f"stage `{self.name}` is to be fitted on no cell.",
                where=self._here,
                why="an estimator learns from rows.",
                fix=f'for example .fit_on("{TRAIN}").',
            )
        return replace(self, fitting=replace(self.fitting, cells=cells))

    def cross_fit(self, folds: int = 5, *, ordered: bool = False, nested: bool = False) -> "Stage":
        """The same estimator, fitted so that no row's output comes from a fit that saw the row.

        For stages that read a label and whose output other stages are fitted on. Train is divided
        into folds; rows of a fold get the output of a model fitted on the others, and all other
        rows that of one fitted on all of train.

        Args:
            folds: their number, at least 2; it is fitted `folds + 1` times.
            ordered: a fold's model is fitted on the folds before it only, so the first fold gets
                no output. For a time split, where a later day must not tell of an earlier one.
            nested: a fit that leaves out a fold learns from what nested stages upstream make
                without this fold, so every stage of a chain is out of sample, and metrics on
                folds are honest. To be said of every stage of the chain that reads a label. Each
                one is fitted for more sets of folds than the next: with 5 folds 6 times the last,
                16 times the one before it, then 26. More than 1,000 fits of a stage are refused.

        Raises:
            DefinitionError: it is no estimator, `folds` is no number from 2 on, or they are to
                be both ordered and nested.
        """
        self._refuse_unless_estimator("cross_fit")
        if not isinstance(folds, int) or folds < 2:
            raise DefinitionError(
                f"stage `{self.name}` cannot be cross-fitted with {folds!r} folds.",
                where=self._here,
                why="a fold's model is fitted on the other folds.",
                fix="use at least 2; 5 is usual.",
            )
        if ordered and nested:
            raise DefinitionError(
                f"stage `{self.name}` cannot be cross-fitted both ordered and nested.",
                where=self._here,
                why="a fit on the blocks before a block has seen neither it nor a later one, in "
                "chains of any length, so there is nothing left to nest.",
                fix="leave one out: ordered=True for a time split, nested=True for one by keys.",
            )
        scheme: Literal["blocks", "folds"] = "blocks" if ordered else "folds"
        fitting = replace(self.fitting, scheme=scheme, count=folds, nested=nested)
        return replace(self, fitting=fitting)

    def slices(self, use: int, *, of: int) -> "Stage":
        """The same estimator, fitted on one of several disjoint slices of train.

        In a chain of estimators that all read a label, each on a slice of its own, no stage learns
        from what another one has memorised, and nothing is fitted more than once.

        Args:
            use: which slice, from 1.
            of: the number of slices; the same for all stages of a chain.

        Raises:
            DefinitionError: it is no estimator, or there is no such slice.
        """
        self._refuse_unless_estimator("slices")
        if not (isinstance(use, int) and isinstance(of, int) and 1 <= use <= of):
            raise DefinitionError(
                f"stage `{self.name}` cannot be fitted on slice {use!r} of {of!r}.",
                where=self._here,
                why="slices are counted from 1.",
                fix="for example .slices(1, of=2) here and .slices(2, of=2) for its reader.",
            )
        fitting = replace(self.fitting, scheme="slice", count=of, index=use - 1, nested=False)
        return replace(self, fitting=fitting)

    def serve_only(self) -> "Stage":
        """The same estimator, whose output must never feed an evaluation.

        For a refit on all rows, after the evaluation, for production.

        Raises:
            DefinitionError: it is no estimator.
        """
        self._refuse_unless_estimator("serve_only")
        return replace(self, fitting=replace(self.fitting, serve_only=True))

    def _refuse_unless_estimator(self, what: str) -> None:
        if not self.operation.is_estimator:
            raise DefinitionError(
                f"stage `{self.name}` has no fit, so {what} has no meaning for it.",
                where=self._here,
                why=f"{self.operation.title} is no estimator.",
                fix=f"leave .{what}(...) out.",
            )


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
        DefinitionError: it has no parameters, or some with defaults, `*` or `**`.
    """

    def declare(function: Callable[..., Any]) -> Stage:
        inputs, location = parameters_of(function, "feature")
        return Stage(
            name=function.__name__,
            operation=ColumnOperation(function),
            inputs=inputs,
            fit_inputs=(),
            outputs=(function.__name__,),
            entity=entity,
            materialization="view",
            location=location,
            owner=owner,
            description=inspect.getdoc(function),
        )

    return declare


def pretrained(
    load: Callable[[], Any],
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
    version: str,
    attested: Attested | None = None,
) -> Stage:
    """Declare a stage that applies a model which was fitted elsewhere.

    What it was fitted on is unknown, and an evaluation that depends on it is refused, unless it is
    attested.

    Args:
        load: gives the fitted Spark model. It reads and writes columns of the features' names.
        inputs: the features it reads.
        outputs: the features it provides.
        version: identifies the model; another version is another result.
        attested: what is known of the rows it was fitted on.

    Raises:
        InPlaceOverwrite: an output is also an input.
        DefinitionError: inputs or outputs are no lists of names, or there are none.
    """
    location = caller_location()
    here = [(f"pretrained({load.__name__}, ...)", location)]
    for what, names in (("inputs", inputs), ("outputs", outputs)):
        check_names(f"`{what}`", names, here)
        if not names:
            raise DefinitionError(
                f"pretrained(...) names no {what}.",
                where=here,
                why="a stage is placed in a flow by the names of the features it reads and "
                "provides.",
                fix=f'for example {what}=["text_vector"].',
            )
    return Stage(
        name=outputs[0],
        operation=PretrainedOperation(load, version, attested),
        inputs=tuple(inputs),
        fit_inputs=(),
        outputs=tuple(outputs),
        entity=None,
        materialization="view",
        location=location,
    )


def parameters_of(function: Callable[..., Any], kind: str) -> tuple[tuple[str, ...], Location]:
    """The features that a function reads, named by its parameters, and where it stands.

    Raises:
        DefinitionError: it has no parameters, or some with defaults, `*` or `**`.
    """
    location = Location(function.__code__.co_filename, function.__code__.co_firstlineno)
    parameters = inspect.signature(function).parameters.values()
    if not parameters or any(
        p.kind is not p.POSITIONAL_OR_KEYWORD or p.default is not p.empty for p in parameters
    ):
        raise DefinitionError(
            f"{kind} `{function.__name__}` must have plain parameters, at least one.",
            where=[(f"{kind} {function.__name__!r}", location)],
            why="every parameter is the name of a feature that the function reads.",
            fix=f"for example def {function.__name__}(text: Column) -> Column.",
        )
    return tuple(p.name for p in parameters), location
