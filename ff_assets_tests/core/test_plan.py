"""A plan does what is missing and no more, and every frame holds what is read of it."""

import gc
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from ff_assets.core.cells import TEST, TRAIN
from ff_assets.core.declare import Provider, Source
from ff_assets.core.errors import DefinitionError
from ff_assets.core.fingerprint import Fingerprints
from ff_assets.core.flow import Flow, infer
from ff_assets.core.honesty import check
from ff_assets.core.instance import Instance
from ff_assets.core.project import Project
from ff_assets.core.steps import CELLS, Kind, Step, rows_of, steps_of, steps_of_target
from ff_assets.core.target import Target
from ff_assets.engine.frame_plan import Work
from ff_assets.engine.plan import Inventory, Plan, make_plan
from ff_assets.engine.store import Store
from ff_assets_tests.core.simulation import Simulation, put
from ff_assets_tests.core.stubs import Graph, estimator, graphs, source, transformer


def flow_of(*providers: Provider, outputs: Iterable[str], label: str | None = None) -> Flow:
    target = Target("t", outputs=list(outputs), label=label, task=label and "regression")
    sources = tuple(p for p in providers if isinstance(p, Source))
    return infer(Project(sources, tuple(p for p in providers if p not in sources), (target,)))


def sentiment(**levels: int) -> Flow:
    """Two vectorisers under one classifier; some parameter of each stage can be given."""
    return flow_of(
        source("texts", "text", "good"),
        transformer("words", ["text"], level=levels.get("words")),
        estimator("tfidf", ["words"], "vector", level=levels.get("tfidf")).materialized("view"),
        estimator("word2vec", ["words"], "vector", level=levels.get("word2vec")),
        estimator("score", ["vector"], label="good", level=levels.get("score")),
        outputs=["score"],
        label="good",
    )


def make(
    flow: Flow, store: Store, wanted: Mapping[Step, tuple[str, ...]] | None = None, **given: object
) -> Plan:
    """The plan of everything, if nothing else is wanted."""
    prints = Fingerprints(
        {s.name: "1" for s in flow.project.sources},
        engine="4.3.0",
        reading="1",
        metrics="1",
        comparing="1",
    )
    prints.add(flow.instances)
    wanted = dict.fromkeys(steps_of(flow), CELLS) if wanted is None else wanted
    return make_plan(flow, wanted, prints, store, **given)


def run(plan: Plan, store: Store) -> None:
    Simulation(plan, store).run()


def names(steps: Iterable[Step]) -> list[str]:
    return [step.name for step in steps]


def work_of(plan: Plan, name: str) -> Work:
    (work,) = (work for instance, work in plan.work.items() if instance.name == name)
    return work


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


# What is done


def test_nothing_exists(store: Store):
    plan = make(sentiment(), store)
    assert plan.todo == steps_of(plan.flow)
    assert plan.needs_spark
    assert plan.fits == 4
    assert all(not found for found in plan.reused.values())


def test_everything_exists(store: Store):
    run(make(sentiment(), store), store)
    plan = make(sentiment(), store)
    assert plan.todo == ()
    assert plan.work == {}
    assert plan.fits == 0
    assert not plan.needs_spark
    for step, found in plan.reused.items():
        assert set(found) == (set(CELLS) if step.has_cells else {""})


@pytest.mark.parametrize("edited", ["words", "tfidf", "word2vec", "score"])
def test_after_an_edit_only_descendants_are_done(store: Store, edited: str):
    run(make(sentiment(), store), store)
    plan = make(sentiment(**{edited: 2}), store)
    below: set[Instance] = set()
    for instance in plan.flow.instances:
        if instance.provider.name == edited or below.intersection(instance.parents):
            below.add(instance)
    for step in steps_of(plan.flow):
        if isinstance(step.subject, Instance):
            expected = step.subject in below
        elif step.kind is Kind.LEADERBOARD:
            expected = any(v.prediction in below for v in step.contest.variants)
        else:
            expected = step.variant.prediction in below
        assert (step in plan.todo) == expected, step
    run(plan, store)

    undone = make(sentiment(), store)
    assert undone.todo == ()


def test_only_an_evaluation_is_missing(store: Store):
    flow = sentiment()
    evaluations = {step for step in steps_of(flow) if step.kind is Kind.EVALUATION}
    others = {step: CELLS for step in steps_of(flow) if isinstance(step.subject, Instance)}
    run(make(flow, store, others), store)
    plan = make(flow, store, dict.fromkeys(evaluations, CELLS))
    assert set(plan.todo) == evaluations
    assert not plan.needs_spark
    assert all(work.stored for work in plan.work.values())


def test_a_registration_whose_model_version_is_gone_is_done_again(store: Store):
    flow = sentiment()
    run(make(flow, store), store)
    (gone, _) = (step for step in steps_of(flow) if step.kind is Kind.REGISTRATION)
    assert make(flow, store, untrue=[gone]).todo == (gone,)


def test_a_registration_brings_what_it_needs(store: Store):
    flow = sentiment()
    wanted = next(step for step in steps_of(flow) if step.kind is Kind.REGISTRATION)
    plan = make(flow, store, {wanted: ()})
    run(plan, store)
    assert names(plan.todo) == [
        "sources/texts",
        "models/tfidf",
        "models/score[tfidf]",
        "features/score[tfidf]",
        "evaluations/t[tfidf]",
        "registry/t[tfidf]",
    ]  # views are computed where they are read, and not recorded unless asked for


def test_train_alone_leaves_test_alone(store: Store):
    flow = sentiment()
    wanted = {step: (TRAIN,) for step in steps_of(flow) if isinstance(step.subject, Instance)}
    plan = make(flow, store, wanted)
    for instance, work in plan.work.items():
        assert work.cells == {TRAIN}
        # A source is loaded and split as a whole.
        assert work.write == (CELLS if instance.is_source else (TRAIN,))
    run(plan, store)
    rest = make(flow, store)
    assert rest.fits == 0
    for work in rest.work.values():
        assert TEST in work.cells
        assert work.write in ((TEST,), ())


def test_a_model_never_needs_test(store: Store):
    flow = sentiment()
    models = {step: () for step in steps_of(flow) if step.kind is Kind.MODEL}
    plan = make(flow, store, models)
    assert all(work.cells <= {TRAIN} for work in plan.work.values())
    run(plan, store)


def test_steps_of_a_target_are_those_of_its_variants():
    stages = (transformer("words", ["text"]), transformer("length", ["text"]))
    targets = (Target("a", outputs=["words"]), Target("b", outputs=["length"]))
    flow = infer(Project((source("texts", "text"),), stages, targets))
    assert names(steps_of_target(flow, "a")) == ["sources/texts", "features/words", "registry/a"]
    assert names(steps_of_target(flow, "b")) == ["sources/texts", "features/length", "registry/b"]


# Frames


def test_a_shared_frame_is_persisted_with_what_is_read_of_it(store: Store):
    flow = flow_of(
        source("texts", "text", "good", "unused"),
        transformer("words", ["text"]),
        estimator("one", ["words"], label="good"),
        estimator("two", ["words"], label="good"),
        outputs=["one", "two"],
    )
    plan = make(flow, store)
    words = work_of(plan, "words")
    assert words.persist
    assert words.readers == 4  # two fits, two writes
    assert {(i.name, feature) for i, feature in words.kept} == {
        ("words", "words"),
        ("texts", "good"),
    }
    texts = work_of(plan, "texts")
    assert texts.stored
    assert not texts.persist
    assert texts.readers == 1  # by the frame of words, once
    assert not work_of(plan, "one").persist  # written, and read by nothing else
    assert all(recipe.extend == () for recipe in recipes(plan))  # no join


@pytest.mark.parametrize("outputs", [["length"], ["length", "width"]])
def test_a_frame_is_persisted_from_its_second_reader_on(store: Store, outputs: list[str]):
    flow = flow_of(
        source("texts", "text"),
        transformer("words", ["text"]),
        transformer("length", ["words"]),
        transformer("width", ["words"]),
        outputs=outputs,
    )
    plan = make(flow, store)
    assert work_of(plan, "words").readers == len(outputs)
    persisted = [instance.name for instance, work in plan.work.items() if work.persist]
    assert persisted == ([] if len(outputs) == 1 else ["words"])


def test_what_the_base_does_not_hold_is_joined_or_computed_again(store: Store):
    flow = flow_of(
        source("texts", "text"),
        source("ratings", "stars"),
        transformer("words", ["text"]),
        transformer("twice", ["stars"]),
        transformer("both", ["words", "twice"]),
        transformer("last", ["both", "words"]),
        outputs=["last"],
    )
    plan = make(flow, store)
    recipe = work_of(plan, "both").recipe
    assert recipe is not None
    assert recipe.base.name == "twice"
    assert [instance.name for instance in recipe.extend] == ["texts", "words"]
    recipe = work_of(plan, "last").recipe
    assert recipe is not None
    assert recipe.base.name == "both"
    assert recipe.extend == ()  # what was added before is there
    run(plan, store)


def test_stored_tables_are_read_rather_than_what_they_were_made_from(store: Store):
    flow = sentiment()
    run(make(flow, store), store)
    plan = make(sentiment(score=2), store)
    assert work_of(plan, "word2vec").stored
    over_word2vec = [i for i in plan.flow.instances if i.name == "score[word2vec]"]
    model = Step(Kind.MODEL, over_word2vec[0])
    only = make(sentiment(), store, {})
    assert only.work == {}
    plan = make(plan.flow, store, {model: (), rows_of(over_word2vec[0]): CELLS})
    assert [i.name for i in plan.work] == ["texts", "word2vec", "score[word2vec]"]


def recipes(plan: Plan) -> Iterator[object]:
    for work in plan.work.values():
        yield from filter(None, [work.recipe, work.fit_recipe])


# Any flow, any wish, whatever exists


@st.composite
def partly_nested(draw: st.DrawFn, project: Project) -> Project:
    """The same with some estimators cross-fitted, on more folds than there can be stages."""
    if draw(st.booleans()):
        return project
    stages = tuple(
        stage.cross_fit(8, nested=draw(st.integers(0, 3)) > 0)
        if stage.kind == "estimator"
        else stage
        for stage in project.stages
    )
    return Project(project.sources, stages, project.targets)


def some(draw: st.DrawFn, flow: Flow) -> dict[Step, tuple[str, ...]]:
    cells = st.sampled_from([(TRAIN,), (TEST,), CELLS])
    chosen = draw(st.lists(st.sampled_from(steps_of(flow)), unique=True))
    return {step: draw(cells) for step in chosen}


@given(st.data(), graphs(acyclic=True))
@settings(max_examples=100, deadline=None)
def test_every_plan_can_be_carried_out(data: st.DataObject, graph: Graph):
    flow = infer(data.draw(partly_nested(graph.project)))
    try:
        check(flow)
    except DefinitionError:  # variants of one target with labels of their own are never planned
        reject()
    wanted, existing = (data.draw(st.composite(some)(flow)) for _ in range(2))
    with tempfile.TemporaryDirectory() as directory:
        store = Store(Path(directory))
        empty = make(flow, store, wanted)
        inventory = Inventory(flow, empty.fingerprints, store)
        with store.staging() as staging:
            for step, cells in existing.items():
                put(store, staging, inventory, step, cells)

        before = {step: inventory.find(step) for step in steps_of(flow)}
        plan = make(flow, store, wanted)
        for step in plan.todo:
            if not step.has_cells:
                assert not before[step]
            elif step.kind is not Kind.SOURCE:
                assert not before[step].keys() & plan.work[step.instance].write
        run(plan, store)

        for step, cells in wanted.items():
            assert inventory.find(step).keys() >= (set(cells) if step.has_cells else {""})
        again = make(flow, store, wanted)
        assert again.todo == ()
        assert not again.needs_spark


# Scale


def chain(size: int) -> Iterator[Provider]:
    yield source("src", "x", "y")
    for number in range(size):
        yield transformer(f"s{number}", [f"s{number - 1}" if number else "x"])


def diamonds(size: int) -> Iterator[Provider]:
    yield source("src", "x", "y")
    for number in range(0, size, 3):
        reads = [f"s{number - 1}" if number else "x"]
        yield transformer(f"s{number}", reads)
        yield estimator(f"s{number + 1}", reads, label="y")
        yield transformer(f"s{number + 2}", [f"s{number}", f"s{number + 1}"])


def fan_in(size: int) -> Iterator[Provider]:
    yield source("src", "x", "y")
    for number in range(size - 2):
        yield transformer(f"s{number}", ["x"])
    reads = [f"s{number}" for number in range(size - 2)]
    yield transformer("assembled", reads)
    yield transformer("last", ["assembled", *reads])


@pytest.mark.parametrize("shape", [chain, diamonds, fan_in])
def test_planning_is_linear(store: Store, shape: object):
    def seconds(size: int) -> float:
        providers = list(shape(size))
        flow = flow_of(*providers, outputs=[providers[-1].outputs[0]])
        steps = steps_of(flow)
        wanted = {steps[-1]: ("",), steps[-2]: CELLS}
        gc.collect()
        began = time.process_time()
        assert make(flow, store, wanted).needs_spark
        return time.process_time() - began

    small, large = seconds(1_000), seconds(4_000)
    print(f"{shape.__name__}: 1,000 stages {small:.2f} s, 4,000 {large:.2f} s")
    assert large < 10 * small  # linear is 4, quadratic 16
