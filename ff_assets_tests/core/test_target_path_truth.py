"""Which labels come back to their own rows, against the truth: what changes when they change.

The toy engine here knows nothing of paths. It has households with baskets, their items, pieces of
these, and visits, at times that are drawn; a value is a hash of all that it is made from, row by
row. A plan leaks if, for any times, a prediction changes with the outcome of its own row, or with
one that nobody knew when that row's time came; or with another outcome, which a source declares, of
that row, of its parts or of what it is a part of.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ff_assets import Entity, Source, Stage, Target, aggregate
from ff_assets.core.flow import Flow, infer
from ff_assets.core.honesty import check
from ff_assets.core.instance import Instance
from ff_assets.core.operations import AggregateOperation
from ff_assets.core.project import Project
from ff_assets_tests.core.stubs import load, transformer

DAYS = 24
DRAWS = 40  # of times, before what never leaked counts as honest


@dataclass(eq=False)
class Row:
    """A row, with itself and the rows that it belongs to by their entities' names."""

    number: int
    day: int
    over: dict[str, "Row"] = field(default_factory=dict)


class Plan:
    """A flow with the plain facts that an oracle needs.

    Attributes:
        entities: by name.
        label: what is to be predicted.
        about: the entity whose rows have it.
        told: the outcome: features of sources, each with its entity.
        others: the same for what else is declared as a label.
        horizon: days until the outcome is known.
    """

    def __init__(
        self,
        entities: list[Entity],
        flow: Flow,
        label: str,
        about: Entity,
        told: dict[str, Entity],
        others: dict[str, Entity],
        horizon: int,
    ) -> None:
        self.entities = {entity.name: entity for entity in entities}
        self.flow = flow
        self.label = label
        self.about = about
        self.told = told
        self.others = others
        self.horizon = horizon

    def __repr__(self) -> str:
        lines = [f"{entity.name} with time {entity.time}" for entity in self.entities.values()]
        for each in self.flow.project.stages:
            made = f"{each.name}({', '.join(each.inputs)})"
            if isinstance(summed := each.operation, AggregateOperation):
                made += f" of {summed.of.name} for {summed.to.name}, gap {summed.gap.days}"
            lines.append(made)
        (target,) = self.flow.project.targets
        lines.append(f"{target.outputs} for {self.label} of {[*self.told]} after {self.horizon}")
        return "\n".join(["", *lines])


def rows_of(entities: dict[str, Entity], rng: random.Random) -> dict[str, list[Row]]:
    made: dict[str, list[Row]] = {name: [] for name in entities}
    for name, entity in entities.items():
        above = made[entity.parent.name] if entity.parent else [None] * 2
        for parent in above:
            for _ in range(rng.randint(1, 3) if parent else 1):
                row = Row(len(made[name]), rng.randrange(DAYS))
                row.over = {**(parent.over if parent else {}), name: row}
                made[name].append(row)
    return made


class Toy:
    """The values of a flow for some rows, with some values of sources changed."""

    def __init__(self, rows: dict[str, list[Row]], changed: "Changed") -> None:
        self._rows = rows
        self._changed = changed

    def value(self, instance: Instance, feature: str, row: Row) -> int:
        row = row.over[instance.entity.name]
        if instance.is_source:
            return hash((feature, row.number, (feature, row) in self._changed))
        operation = instance.stage.operation
        events = [row]
        if isinstance(operation, AggregateOperation):
            over = operation.over.name
            events = [e for e in self._rows[operation.of.name] if e.over[over] is row.over[over]]
            if operation.of.time and operation.to.time:
                events = [e for e in events if e.day + operation.gap.days < row.day]
        read = [
            self.value(parent, name, event)
            for event in events
            for name, parent in instance.inputs.items()
        ]
        return hash((feature, tuple(read)))


Changed = set[tuple[str, Row]]


def outcome(plan: Plan, rows: dict[str, list[Row]], row: Row) -> Changed:
    """The values of the outcome of a row, and those that were not known at its time."""
    changed: Changed = set()
    for feature, entity in plan.told.items():
        about = plan.about if entity.is_below(plan.about) else entity
        own = row.over[about.name]
        changed |= {
            (feature, other)
            for other in rows[entity.name]
            if other.over[about.name] is own
            or (entity.time and other.day + plan.horizon >= own.day)
        }
    return changed


def other_outcomes(plan: Plan, rows: dict[str, list[Row]], row: Row) -> Changed:
    """The values of other outcomes of a row, its parts and its wholes, but for earlier parts."""
    own = row.over[plan.about.name]
    return {
        (feature, other)
        for feature, entity in plan.others.items()
        for other in rows[entity.name]
        if (other.over.get(plan.about.name) is own or own.over.get(entity.name) is other)
        and not (other is not own and entity.time and plan.about.time and other.day < own.day)
    }


def leaks(plan: Plan, hidden: Callable[[Plan, dict[str, list[Row]], Row], Changed]) -> bool:
    """Whether a prediction changes with values that must not tell of its row."""
    (variant,) = plan.flow.variants
    output = variant.target.outputs[0]
    for seed in range(DRAWS):
        rows = rows_of(plan.entities, random.Random(seed))
        before = Toy(rows, set())
        for row in rows[variant.entity.name]:
            after = Toy(rows, hidden(plan, rows, row))
            values = (toy.value(variant.prediction, output, row) for toy in (before, after))
            if len(set(values)) > 1:
                return True
    return False


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Row-wise stages and aggregates over five entities, some carried to finer rows.

    The label is a feature of a source or made by a stage, of features of one entity or of several,
    of rows that belong to its own or to the same household, or against earlier rows; the outcome
    among them is declared or not, and there may be another.
    """
    timed = st.sampled_from([None, "at"])
    household = Entity("household", key="household_id", time=draw(timed))
    basket = Entity(
        "basket", key="basket_id", parent=household, foreign_key="household_id", time="at"
    )
    visit = replace(basket, name="visit", key="visit_id")
    item = Entity("item", key="item_id", parent=basket, foreign_key="basket_id", time=draw(timed))
    piece = Entity("piece", key="piece_id", parent=item, foreign_key="item_id", time=draw(timed))
    entities = [household, basket, visit, item, piece]
    given = {"size": household, "churned": household, "won": basket, "n": basket, "length": visit}
    given |= {"price": item, "back": item, "weight": piece}
    horizon = draw(st.sampled_from([0, 0, 5]))
    declared = draw(st.booleans())
    others = draw(st.sets(st.sampled_from(["churned", "back"]), max_size=1))
    sources = [
        Source(
            f"{entity.name}s",
            entity=entity,
            load=load,
            features={name: "double" for name, of in given.items() if of == entity},
            labels=[f for f in others if given[f] == entity]
            + (["won"] if declared and entity == basket else []),
            label_horizon=f"{horizon}d" if declared and entity == basket else "0d",
            version="1",
        )
        for entity in entities
    ]
    parts = draw(st.sampled_from([["won"], ["won", "n"], ["won", "size"], ["won", "price"]]))
    stages: list[Stage] = []
    provided = dict(given)

    def wholly(reads: list[str]) -> Entity:
        return max((provided[name] for name in reads), key=lambda entity: len(entity.chain))

    label = draw(st.sampled_from(["won", "won", "total", "beside", "change"]))
    if label == "total":
        parts = [draw(st.sampled_from(["price", "weight"]))]
        stages.append(summing(label, parts, given[parts[0]], basket, 0))
        provided[label] = basket
    elif label == "beside":
        parts = ["length"]
        stages.append(summing(label, parts, visit, basket, 0))
        provided[label] = basket
    elif label == "change":
        parts = ["won"]
        stages.append(summing("lag", parts, basket, basket, draw(st.sampled_from([0, 5]))))
        stages.append(transformer(label, ["won", "lag"]))
        provided |= {"lag": basket, label: basket}
    elif len(parts) > 1 or draw(st.booleans()):
        label = "label"
        stages.append(transformer(label, parts))
        provided[label] = wholly(parts)
    for number in range(draw(st.integers(1, 5))):
        name = f"s{number}"
        of = draw(st.sampled_from(entities))
        readable = [f for f, entity in provided.items() if of.is_within(entity)]
        reads = draw(st.lists(st.sampled_from(readable), min_size=1, max_size=2, unique=True))
        latest = f"s{number - 1}"
        if latest in readable and draw(st.booleans()):
            reads = list(dict.fromkeys([latest, *reads]))  # more depth
        to = draw(st.sampled_from([e for e in entities if can_sum(of, e)] or [None]))
        if to is not None and draw(st.integers(0, 3)):
            own = [f for f in readable if provided[f] == of]
            if not any(f in own for f in reads):
                reads.append(draw(st.sampled_from(own)))
            gap = draw(st.sampled_from([0, 5])) if of.time and to.time else 0
            stages.append(summing(name, reads, of, to, gap))
            provided[name] = to
        else:
            stages.append(transformer(name, reads))
            provided[name] = wholly(reads)
    about = provided[label]
    outputs = [f for f, e in provided.items() if e.is_within(about) or about.is_within(e)]
    made = [f for f in outputs if f.startswith("s") and f != "size"]
    output = made[-1] if made else draw(st.sampled_from(outputs))
    target = Target("t", outputs=[output], label=label, task="regression")
    told = ["won"] if declared and "won" in parts else parts
    if label == "beside":  # nobody can say which visits these are
        told = []
    if not declared or told != ["won"]:
        horizon = 0
    return Plan(
        entities,
        infer(Project(tuple(sources), tuple(stages), (target,))),
        label,
        about,
        {name: given[name] for name in told},
        {
            name: given[name]
            for name in (*others, *(["won"] if declared else []))
            if name not in told
        },
        horizon,
    )


def can_sum(of: Entity, to: Entity) -> bool:
    if of == to:
        return of.time is not None and of.parent is not None
    return not to.is_within(of)


def summing(name: str, reads: list[str], of: Entity, to: Entity, gap: int) -> Stage:
    scope: dict[str, Any] = {"__name__": __name__}
    exec(f"def {name}({', '.join(reads)}): return {reads[0]}", scope)
    return aggregate(of=of, to=to, gap=f"{gap}d")(scope[name])


@settings(max_examples=200, deadline=None)
@given(plans())
def test_a_plan_is_refused_if_an_outcome_can_come_back(plan: Plan) -> None:
    (verdict,) = check(plan.flow)
    codes = {finding.code for finding in verdict.refusals}
    assert codes <= {"TARGET_PATH", "OUTCOME_AS_INPUT"}
    if leaks(plan, outcome):
        assert "TARGET_PATH" in codes
    elif leaks(plan, other_outcomes):
        assert codes
    elif plan.label not in ("total", "beside") and not any(map(carries, plan.flow.instances)):
        assert "TARGET_PATH" not in codes


def carries(instance: Instance) -> bool:
    """Whether it sums up what rows have of one that they belong to: it is not told which one."""
    return instance.is_aggregate and any(
        parent.entity != instance.stage.read_entity for parent in instance.inputs.values()
    )
