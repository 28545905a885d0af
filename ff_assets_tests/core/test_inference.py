"""Inference finds exactly the acyclic consistent derivations, each stage instance once."""

import itertools
from collections.abc import Iterable, Iterator, Mapping

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ff_assets.core.declare import Provider
from ff_assets.core.entities import Entity
from ff_assets.core.errors import CyclicFlow, DefinitionError, UnreachableOutput, VariantExplosion
from ff_assets.core.flow import Flow, infer
from ff_assets.core.graph import strongly_connected
from ff_assets.core.instance import Instance
from ff_assets.core.project import Project
from ff_assets.core.target import Target
from ff_assets_tests.core.stubs import Graph, estimator, graphs, named, source, transformer

Derivation = frozenset[tuple[str, str]]  # (feature, name of its provider)


# The oracle: every assignment of providers to features, kept if what is used of it has no cycle.


def derivations(project: Project, target: Target, wanted: Iterable[str]) -> set[Derivation]:
    among: dict[str, list[Provider]] = {}
    for provider in project.providers:
        for feature in provider.outputs:
            if provider.name in target.choose.get(feature, [provider.name]):
                among.setdefault(feature, []).append(provider)
    found = set()
    for combination in itertools.product(*among.values()):
        used = uses(dict(zip(among, combination, strict=True)), wanted)
        if used is not None and is_acyclic(used):
            found.add(frozenset((feature, provider.name) for feature, provider in used.items()))
    return found


def uses(assigned: Mapping[str, Provider], wanted: Iterable[str]) -> dict[str, Provider] | None:
    """What the wanted features use of an assignment; nothing if they need what it lacks."""
    used: dict[str, Provider] = {}
    new = set(wanted)
    while new:
        if not new <= set(assigned):
            return None
        used |= {feature: assigned[feature] for feature in new}
        new = {name for feature in new for name in assigned[feature].reads} - set(used)
    return used


def is_acyclic(used: Mapping[str, Provider]) -> bool:
    left = set(used.values())
    while left:
        free = {p for p in left if not any(used[name] in left for name in p.reads)}
        if not free:
            return False
        left -= free
    return True


def found_by(flow: Flow, target: Target) -> list[Derivation]:
    return [
        frozenset((feature, i.provider.name) for feature, i in variant.features.items())
        for variant in flow.variants_of(target.name)
    ]


@given(graphs(max_targets=1))
@settings(max_examples=300, deadline=None)
@example(  # `b` of `p` closes a cycle that is left through another provider of `b` only
    Graph(
        Project(
            (source("src", "x"),),
            (
                transformer("p", ["c"], "a", "b"),
                transformer("q", ["b"], "c"),
                transformer("y", ["x"], "b"),
                transformer("z", ["x"], "a"),
            ),
            (Target("t", outputs=["a"]),),
        ),
        ("a", "b", "c", "x"),
    )
)
def test_variants_are_the_acyclic_consistent_derivations(graph: Graph):
    project = graph.project
    (target,) = project.targets
    expected = derivations(project, target, target.wanted)
    if expected:
        found = found_by(infer(project), target)
        assert set(found) == expected
        assert len(found) == len(expected)
        return

    with pytest.raises((CyclicFlow, UnreachableOutput)) as caught:
        infer(project)
    lacking = {f for f in graph.features if not derivations(project, target, [f])}
    first = next(feature for feature in target.wanted if feature in lacking)
    ends = dead_ends(project, target, first, lacking)
    # Whatever lacks a provider is said first; a cycle is blamed only if nothing does.
    assert isinstance(caught.value, UnreachableOutput if ends else CyclicFlow)
    if ends:
        assert any(f"`{feature}`" in caught.value.what for feature in ends)
    else:
        supplied = Project((*project.sources, source("more", *unprovided(graph))), project.stages)
        assert not derivations(supplied, target, [first])


def dead_ends(project: Project, target: Target, wanted: str, lacking: set[str]) -> set[str]:
    ends, seen, agenda = set(), {wanted}, [wanted]
    while agenda:
        feature = agenda.pop()
        providers = [
            provider
            for provider in project.providers
            if feature in provider.outputs
            and provider.name in target.choose.get(feature, [provider.name])
        ]
        if not providers:
            ends.add(feature)
        new = {name for p in providers for name in p.reads if name in lacking} - seen
        seen |= new
        agenda.extend(new)
    return ends


def unprovided(graph: Graph) -> list[str]:
    provided = {f for provider in graph.project.providers for f in provider.outputs}
    return [feature for feature in graph.features if feature not in provided] or ["unused"]


@st.composite
def derivable(draw: st.DrawFn) -> Graph:
    graph = draw(graphs(acyclic=draw(st.booleans()), max_targets=3))
    project = graph.project
    targets = [t for t in project.targets if derivations(project, t, t.wanted)]
    return Graph(Project(project.sources, project.stages, tuple(targets)), graph.features)


@given(derivable())
@settings(max_examples=100, deadline=None)
def test_instances_exist_once_and_in_order(graph: Graph):
    flow = infer(graph.project)
    position = {instance: index for index, instance in enumerate(flow.instances)}
    used = {instance for variant in flow.variants for instance in variant.instances}
    assert used == set(flow.instances)
    assert len(position) == len(flow.instances)
    meaning: dict[Instance, tuple[object, ...]] = {}
    for instance in flow.instances:
        assert all(position[parent] < position[instance] for parent in instance.parents)
        reads = [*instance.inputs.items(), *instance.fit_inputs.items()]
        meaning[instance] = (
            instance.provider.name,
            *((feature, meaning[parent]) for feature, parent in reads),
        )
    assert len(set(meaning.values())) == len(meaning)  # equal derivations share an instance


@given(derivable())
@settings(max_examples=100, deadline=None)
def test_variants_hold_one_instance_of_each_provider(graph: Graph):
    flow = infer(graph.project)
    for variant in flow.variants:
        position = {instance: index for index, instance in enumerate(variant.instances)}
        assert set(position) == set(variant.features.values())
        for instance in variant.instances:
            assert all(position[parent] < position[instance] for parent in instance.parents)
            for feature, parent in {**instance.inputs, **instance.fit_inputs}.items():
                assert variant.features[feature] is parent
        providers = {feature: i.provider.name for feature, i in variant.features.items()}
        assert variant.choices.items() <= providers.items()
    for target in flow.project.targets:
        choices = [tuple(variant.choices.items()) for variant in flow.variants_of(target.name)]
        assert len(set(choices)) == len(choices)


@given(derivable())
@settings(max_examples=100, deadline=None)
def test_names_are_unique_and_slugs_are_identifiers(graph: Graph):
    flow = infer(graph.project)
    for named_things in (flow.instances, flow.variants):
        names = [thing.name for thing in named_things]
        slugs = [thing.slug for thing in named_things]
        assert len(set(names)) == len(names)
        assert len(set(slugs)) == len(slugs)
        assert all(slug.isidentifier() and slug.isascii() for slug in slugs)


@given(derivable())
@settings(max_examples=100, deadline=None)
def test_serving_holds_nothing_that_only_a_fit_reads(graph: Graph):
    flow = infer(graph.project)
    for variant in flow.variants:
        needed, agenda = set(), [variant.features[name] for name in variant.target.outputs]
        while agenda:
            instance = agenda.pop()
            needed.add(instance)
            agenda.extend(instance.inputs.values())
        assert set(variant.serving_instances()) == needed
        in_order = [i for i in variant.instances if i in needed]
        assert list(variant.serving_instances()) == in_order


def test_names_say_the_choices_that_tell_apart():
    flow = infer(
        Project(
            (source("texts", "text", "is_good"),),
            (
                transformer("words", ["text"]),
                estimator("tfidf", ["words"], "vector"),
                estimator("word2vec", ["words"], "vector"),
                estimator("linear", ["vector"], "score", label="is_good"),
                estimator("trees", ["vector"], "score", label="is_good"),
                transformer("rank", ["score", "vector"]),
            ),
            (
                Target("goodness", outputs=["rank"]),
                Target("tfidf_only", outputs=["score"], choose={"vector": ["tfidf"]}),
            ),
        )
    )
    # The last choice met on the way back from the outputs varies fastest.
    assert [variant.name for variant in flow.variants] == [
        "goodness[linear, tfidf]",
        "goodness[linear, word2vec]",
        "goodness[trees, tfidf]",
        "goodness[trees, word2vec]",
        "tfidf_only[linear]",
        "tfidf_only[trees]",
    ]
    assert named(flow.instances)[:4] == ["texts", "words", "tfidf", "linear[tfidf]"]
    assert flow.variants[0].slug == "goodness__linear__tfidf"
    assert flow.variants[0].prediction.name == "rank[linear, tfidf]"
    assert flow.variants[4].prediction is flow.variants[0].features["score"]
    assert len(flow.instances) == 4 + 4 + 4


def test_names_of_choices_that_only_some_variants_have():
    both = [transformer(name, ["x"], "a", "b") for name in ("left", "right")]
    some = transformer("some", ["a"], "c")
    other = transformer("other", ["b"], "c")
    project = Project((source("src", "x"),), (*both, some, other), (Target("t", outputs=["c"]),))
    assert [variant.name for variant in infer(project).variants] == [
        "t[some, left]",
        "t[some, right]",
        "t[other, left]",
        "t[other, right]",
    ]
    assert {i.name for i in infer(project).instances if i.provider is some} == {
        "some[left]",
        "some[right]",
    }


def test_serving_leaves_out_what_makes_the_label():
    stages = (
        transformer("good", ["stars"]),
        transformer("words", ["text"]),
        estimator("score", ["words"], label="good"),
        estimator("risk", ["score"], label="good", weight="stars"),
    )
    target = Target("t", outputs=["risk"], label="good", task="binary")
    flow = infer(Project((source("src", "text"), source("more", "stars")), stages, (target,)))
    assert named(flow.variants[0].serving_instances()) == ["src", "words", "score", "risk"]
    assert len(flow.instances) == 6


def test_a_stage_serves_every_entity_that_has_its_inputs():
    review, product = Entity("review", "review_id"), Entity("product", "product_id")
    sources = [source(f"{e.name}s", "text", entity=e) for e in (review, product)]
    stages = (
        transformer("old", ["text"], "entity"),
        transformer("new", ["text"], "entity"),
        transformer("words", ["entity"]),
    )
    targets = [Target(f"{e.name}_words", outputs=["words"], entity=e) for e in (review, product)]
    flow = infer(Project(tuple(sources), stages, tuple(targets)))
    # A feature that is named `entity` does not hide which entity an instance is about.
    assert {i.name for i in flow.instances if i.provider is stages[2]} == {
        "words[review, old]",
        "words[review, new]",
        "words[product, old]",
        "words[product, new]",
    }
    assert [variant.entity for variant in flow.variants] == [review, review, product, product]


def doubled(count: int, prefix: str = "f") -> Iterator[Provider]:
    """Two providers of each of so many features."""
    for number in range(count):
        for side in ("left", "right"):
            yield transformer(f"{prefix}{number}_{side}", ["x"], f"{prefix}{number}")


def test_too_many_variants_are_refused_without_counting_them():
    top = transformer("top", [f"f{number}" for number in range(40)])
    target = Target("t", outputs=["top"])
    with pytest.raises(VariantExplosion) as caught:  # 2 ** 40 of them
        infer(Project((source("src", "x"),), (*doubled(40), top), (target,)))
    assert "`f0` from f0_left, f0_right" in caught.value.why
    assert "`f39` from f39_left, f39_right" in caught.value.why
    assert "max_variants" in caught.value.fix


def test_choices_that_end_in_a_cycle_are_not_tried_one_by_one():
    # `into` gives `a` but needs `c`, which needs `a`; between the two lie 2 ** 40 other choices.
    stages = (
        *doubled(40),
        transformer("into", [*(f"f{number}" for number in range(40)), "c"], "a"),
        transformer("back", ["a"], "c"),
        transformer("back_too", ["a"], "c"),
    )
    project = Project((source("src", "x", "a"),), stages, (Target("t", outputs=["a"]),))
    assert found_by(infer(project), project.targets[0]) == [frozenset({("a", "src")})]


def test_exactly_as_many_variants_as_allowed_are_allowed():
    stages = tuple(doubled(2))
    fine = Target("t", outputs=["f0", "f1"], max_variants=4)
    assert len(infer(Project((source("src", "x"),), stages, (fine,))).variants) == 4
    tight = Target("t", outputs=["f0", "f1"], max_variants=3)
    with pytest.raises(VariantExplosion):
        infer(Project((source("src", "x"),), stages, (tight,)))


def test_inverse_stages_are_no_cycle_where_a_source_provides_one_side():
    stages = (
        transformer("to_f", ["celsius"], "fahrenheit"),
        transformer("to_c", ["fahrenheit"], "celsius"),
    )
    target = Target("t", outputs=["fahrenheit", "celsius"])
    project = Project((source("src", "celsius"),), stages, (target,))
    assert [sorted(d) for d in found_by(infer(project), target)] == [
        [("celsius", "src"), ("fahrenheit", "to_f")]
    ]


def test_providers_that_lack_something_are_left_out_and_reported():
    stages = (transformer("good", ["x"], "y"), transformer("bad", ["nothing"], "y"))
    project = Project((source("src", "x"),), stages, (Target("t", outputs=["y"]),))
    flow = infer(project)
    assert found_by(flow, project.targets[0]) == [frozenset({("y", "good"), ("x", "src")})]
    assert flow.unusable == {"bad": "reads `nothing`, which cannot be derived"}


def test_a_provider_that_some_target_uses_is_not_reported():
    sources = (source("src", "x"), source("more", "z"))
    stages = (transformer("y", ["x"]), transformer("good", ["y"], "z"))
    targets = (
        Target("without_y", outputs=["z"], choose={"y": []}),
        Target("with_y", outputs=["z"]),
    )
    flow = infer(Project(sources, stages, targets))
    assert [variant.name for variant in flow.variants] == [
        "without_y",
        "with_y[more]",
        "with_y[good]",
    ]
    assert flow.unusable == {}


def test_a_project_without_targets_is_an_empty_flow():
    flow = infer(Project((source("src", "x"),)))
    assert flow.instances == flow.variants == ()


@given(
    st.integers(1, 7).flatmap(
        lambda size: st.lists(st.sets(st.integers(0, size - 1)), min_size=size, max_size=size)
    )
)
def test_strongly_connected_nodes_reach_each_other(successors: list[set[int]]):
    edges = {str(node): [str(s) for s in found] for node, found in enumerate(successors)}
    reached = {node: {node} for node in edges}
    for _ in edges:
        for node, nexts in edges.items():
            reached[node] = reached[node].union(*(reached[n] for n in nexts))
    expected = {frozenset(m for m in reached[n] if n in reached[m]) for n in edges}
    components = strongly_connected(edges)
    assert {frozenset(component) for component in components} == expected
    assert sum(map(len, components)) == len(edges)


def test_an_unknown_target_is_refused():
    project = Project((source("src", "x"),), (), (Target("sentiment", outputs=["x"]),))
    assert project.target("sentiment") is project.targets[0]
    with pytest.raises(DefinitionError, match="no target `sentimnt`") as caught:
        project.target("sentimnt")
    assert "sentiment" in caught.value.why
