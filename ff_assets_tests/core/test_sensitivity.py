"""Sensitivity tags reach all that is made from what has them, and nothing else."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from math import inf
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.ml.classification import LogisticRegression

from ff_assets.core.aggregate import aggregate, aggregates
from ff_assets.core.declare import Source
from ff_assets.core.entities import Entity
from ff_assets.core.flow import Flow, infer
from ff_assets.core.governance import Governed
from ff_assets.core.instance import Instance
from ff_assets.core.policy import Governance
from ff_assets.core.project import Project
from ff_assets.core.sensitivity import Carrier, Sensitivity, read_by
from ff_assets.core.stage import Stage, stage
from ff_assets.core.target import Target
from ff_assets_tests.core.stubs import (
    Graph,
    estimator,
    graphs,
    item,
    source,
    transformer,
)

Tags = Mapping[str, Sequence[str]]


def tagged(sensitivity: Tags, *features: str, entity: Entity = item, name: str = "src") -> Source:
    return replace(source(name, *features, entity=entity), sensitivity=sensitivity)


def flow_of(given: Source, *stages: Stage, policy: Governance | None = None, **target: Any) -> Flow:
    wanted = Target("t", **{"outputs": [stages[-1].outputs[0]], **target})
    return infer(Project((given,), stages, (wanted,), governance=policy or Governance()))


def reach(flow: Flow, tag: str = "pii") -> set[str]:
    """The keys of the assets that a tag reaches."""
    return {asset.key for asset in Governed(flow).tagged[tag]}


# How tags travel


def test_tags_reach_what_is_made_from_a_feature_and_nothing_else():
    stages = (
        transformer("words", ["text"]),
        transformer("year", ["date"]),
        transformer("both", ["words", "year"]),
    )
    flow = flow_of(tagged({"text": ["pii"], "date": ["when"]}, "text", "date"), *stages)
    assert reach(flow) == {
        "sources/src",
        "features/words",
        "features/both",
        "predictions/t/staging",
        "predictions/t/production",
        # No model: nothing is fitted, and what is registered holds no rows.
    }
    assert "features/year" in reach(flow, "when")


def test_a_model_and_its_values_have_the_tags_of_all_that_the_fit_reads():
    """A prediction of something sensitive is a statement about it."""
    given = tagged({"diagnosis": ["health"], "income": ["pii"]}, "x", "diagnosis", "income")
    model = estimator("risk", ["x"], label="diagnosis", weight="income")
    flow = flow_of(given, model, label="x", task="regression")
    for tag in ("health", "pii"):
        assert reach(flow, tag) >= {
            "models/risk_model",
            "features/risk",
            "evaluations/t_evaluation",
            "registry/t_registered",
            "predictions/t/production",
        }


def test_one_variant_carries_what_another_one_does_not():
    stages = (
        transformer("open", ["x"], "vector"),
        transformer("personal", ["text"], "vector"),
        transformer("p", ["vector"]),
    )
    flow = flow_of(tagged({"text": ["pii"]}, "x", "text"), *stages)
    assert reach(flow) >= {"features/personal", "features/p__personal"}
    assert not reach(flow) & {"features/open", "features/p__open"}
    assert "predictions/t/production" in reach(flow)  # any variant may be promoted


def test_kept_features_are_part_of_predictions():
    model = estimator("p", ["x"])
    given = tagged({"text": ["pii"]}, "x", "text")
    assert reach(flow_of(given, model)) == {"sources/src"}
    assert "predictions/t/staging" in reach(flow_of(given, model, keep=["text"]))


household = Entity("household", key="household_id", time="born_at")
basket = Entity(
    "basket", key="basket_id", parent=household, foreign_key="household_id", time="bought_at"
)


def shopping(sensitivity: Tags, *stages: Stage, of: Entity = basket, **target: Any) -> Flow:
    sources = (
        tagged(sensitivity, "amount", "note", entity=of, name="baskets"),
        source("households", "size", entity=household),
    )
    wanted = Target("t", **{"outputs": [stages[-1].outputs[0]], "entity": household, **target})
    return infer(Project(sources, stages, (wanted,)))


def test_a_measure_has_the_tags_of_its_own_inputs():
    sums = aggregates(
        "sums", of=basket, to=household, measures={"amount": ["sum"], "note": ["count"]}
    )
    size = transformer("profile", ["amount_sum", "size"])
    flow = shopping({"note": ["pii"]}, sums, size)
    assert reach(flow) == {"sources/baskets", "features/sums"}
    sensitivity = Governed(flow).sensitivity
    (made,) = [i for i in flow.instances if i.provider is sums]
    assert sensitivity.of(Carrier(made, "note_count")) == ("pii",)
    assert sensitivity.of(Carrier(made, "amount_sum")) == ()


def test_a_key_is_in_every_table_of_its_rows_and_in_no_model():
    @aggregate(of=basket, to=household)
    def spent(amount):
        return amount

    flow = shopping({"household_id": ["who"]}, spent, estimator("p", ["spent"]))
    assert reach(flow, "who") == {
        "sources/baskets",
        "sources/households",
        "features/spent",
        "features/p",
        "predictions/t/staging",
        "predictions/t/production",
    }
    # The key of a basket is not in tables of households.
    assert reach(shopping({"basket_id": ["who"]}, spent, estimator("p", ["spent"])), "who") == {
        "sources/baskets"
    }


def test_what_counts_back_in_time_tells_of_the_times():
    last = aggregates("last", of=basket, to=household, measures={"amount": ["recency"]})
    flow = shopping({"bought_at": ["when"]}, last, transformer("p", ["amount_recency"]))
    assert {"features/last", "features/p"} <= reach(flow, "when")
    path = Governed(flow).sensitivity.trail([Carrier(flow.variants[0].prediction, "p")], "when")
    assert path is not None
    assert path.steps == ["baskets.bought_at", "last.amount_recency", "p"]


# Declassifying


def test_a_tag_ends_where_it_is_said_to_with_the_reason():
    band = transformer("band", ["age"]).declassified("pii", because="five bands")
    given = tagged({"age": ["pii", "minor"]}, "age")
    flow = flow_of(given, band, transformer("p", ["band"]))
    assert reach(flow) == {"sources/src"}
    assert "features/p" in reach(flow, "minor")  # another tag goes on
    governed = Governed(flow)
    assert [(tag, i.name, why) for tag, i, why in governed.declassified] == [
        ("pii", "band", "five bands")
    ]
    (end,) = governed.sensitivity.ended([Carrier(flow.variants[0].prediction, "p")])
    assert (end.tag, end.stage.name, end.because) == ("pii", "band", "five bands")


def test_a_model_keeps_the_tags_that_its_outputs_lose():
    segment = estimator("segment", ["x"]).declassified("pii", because="four segments")
    flow = flow_of(tagged({"x": ["pii"]}, "x"), segment)
    assert reach(flow) == {"sources/src", "models/segment_model", "registry/t_registered"}
    sensitivity = Governed(flow).sensitivity
    instance = flow.variants[0].prediction
    assert sensitivity.ended([Carrier(instance, None)]) == []
    assert [end.tag for end in sensitivity.ended([Carrier(instance, "segment")])] == ["pii"]


def test_metrics_tell_of_the_label():
    ill = estimator("ill", ["x"], label="y").declassified("health", because="a coarse score")
    given = tagged({"y": ["health"]}, "x", "y")
    found = reach(flow_of(given, ill, label="y", task="binary"), "health")
    assert "evaluations/t_evaluation" in found
    assert not found & {"features/ill", "predictions/t/staging"}


def test_another_way_around_the_stage_still_carries_the_tag():
    band = transformer("band", ["age"]).declassified("pii", because="five bands")
    flow = flow_of(tagged({"age": ["pii"]}, "age"), band, transformer("p", ["band", "age"]))
    assert "features/p" in reach(flow)


def test_single_outputs_can_be_declassified():
    split = transformer("split", ["text"], "length", "words")
    split = split.declassified("pii", because="a number", outputs=["length"])
    flow = flow_of(tagged({"text": ["pii"]}, "text"), split, transformer("p", ["length"]))
    assert reach(flow) == {"sources/src", "features/split"}


def test_columns_that_spark_adds_are_part_of_predictions():
    model = stage(
        LogisticRegression, featuresCol="x", labelCol="good", predictionCol="p", maxIter=1
    )
    given = tagged({"x": ["pii"]}, "x", "good")
    only = model.declassified("pii", because="a yes or no", outputs=["p"])
    assert {"features/p", "predictions/t/staging"} <= reach(flow_of(given, only))
    assert not {"features/p", "predictions/t/staging"} & reach(
        flow_of(given, model.declassified("pii", because="one score"))
    )


# Against the definition


def oracle(
    instance: Instance, name: str, tags: Callable[[str], set[str]], ends: Callable[[str], set[str]]
) -> set[str]:
    """The union over all paths, each walked for itself."""
    if instance.is_source:
        return tags(name)
    reads = {**instance.fit_inputs, **instance.inputs}
    found = [oracle(read, feature, tags, ends) for feature, read in reads.items()]
    return set().union(*found) - ends(instance.provider.name)


def distance(instance: Instance, has: Callable[[str], bool], ends: Callable[[str], bool]) -> float:
    """The number of features and models on the shortest path from a tag to an instance's values.

    Args:
        has: whether the source tags a feature.
        ends: whether a stage is declassified.
    """

    def nearest(reads: Mapping[str, Instance]) -> float:
        far = (
            (1 if has(name) else inf) if read.is_source else distance(read, has, ends)
            for name, read in reads.items()
        )
        return min(far, default=inf)

    if ends(instance.provider.name):
        return inf
    return 1 + min(nearest(instance.inputs), 1 + nearest(instance.fit_inputs))


SOME = st.lists(st.sampled_from(["pii", "health"]), max_size=2, unique=True)


@settings(max_examples=150, deadline=None)
@given(graphs(acyclic=True), st.data())
def test_tags_are_the_union_over_all_paths(graph: Graph, data: st.DataObject):
    (first,) = graph.project.sources
    tags = {name: data.draw(SOME) for name in first.features}
    ends = {s.name: data.draw(SOME) for s in graph.project.stages}
    stages = tuple(
        s.declassified(*ends[s.name], because="so it is") if ends[s.name] else s
        for s in graph.project.stages
    )
    flow = infer(replace(graph.project, sources=(tagged(tags, *tags),), stages=stages))
    sensitivity = Sensitivity(flow)
    for instance in flow.instances:
        for name in instance.provider.outputs:
            carrier = Carrier(instance, name)
            expected = oracle(instance, name, lambda n: set(tags[n]), lambda n: set(ends[n]))
            assert set(sensitivity.of(carrier)) == expected
            for tag in ("pii", "health"):
                trail = sensitivity.trail([carrier], tag)
                assert (trail is not None) == (tag in expected)
                if trail is not None:
                    assert instance.is_source or len(trail.carriers) == distance(
                        instance, lambda n, t=tag: t in tags[n], lambda n, t=tag: t in ends[n]
                    )
                    assert tag in trail.source.sensitivity[trail.feature]
                    assert trail.carriers[-1] == carrier
                    assert all(a in read_by(b) for a, b in pairwise(trail.carriers))
                    assert all(tag in sensitivity.of(each) for each in trail.carriers)
