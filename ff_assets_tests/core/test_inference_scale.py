"""Inference is linear in the number of stages, and no depth of a flow is too much for it."""

import gc
import inspect
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from ff_assets.core.declare import Provider
from ff_assets.core.errors import CyclicFlow, UnreachableOutput, VariantExplosion
from ff_assets.core.flow import infer
from ff_assets.core.project import Project
from ff_assets.core.target import Target
from ff_assets_tests.core.stubs import estimator, source, transformer

STAGES = 10_000


def chain(size: int, first: str = "x") -> Iterator[Provider]:
    for number in range(size):
        yield transformer(f"s{number}", [f"s{number - 1}" if number else first])


def fan_in(size: int) -> Iterator[Provider]:
    for number in range(size - 1):
        yield transformer(f"s{number}", ["x"])
    yield transformer(f"s{size - 1}", [f"s{number}" for number in range(size - 1)])


def diamonds(size: int) -> Iterator[Provider]:
    """Each third stage reads two that read the third stage before: 2 ** (size / 3) paths."""
    for number in range(0, size, 3):
        reads = [f"s{number - 1}" if number else "x"]
        yield transformer(f"s{number}", reads)
        yield estimator(f"s{number + 1}", reads, label="x")
        yield transformer(f"s{number + 2}", [f"s{number}", f"s{number + 1}"])


def variants(size: int) -> Iterator[Provider]:
    """Two choices before a chain: each of its stages is there four times."""
    for number in range(2):
        yield transformer(f"left{number}", ["x"], f"choice{number}")
        yield transformer(f"right{number}", ["x"], f"choice{number}")
    yield transformer("s0", ["choice0", "choice1"])
    for number in range(1, size // 4):
        yield transformer(f"s{number}", [f"s{number - 1}"])


def project(shape: Callable[[int], Iterator[Provider]], size: int) -> Project:
    stages = tuple(shape(size))
    return Project((source("src", "x"),), stages, (Target("t", outputs=[stages[-1].outputs[0]]),))


def seconds(made: Project) -> float:
    gc.collect()
    gc.disable()  # its full collections come at any time and cost more the more there is
    try:
        began = time.process_time()
        infer(made)
        return time.process_time() - began
    finally:
        gc.enable()


@contextmanager
def shallow_stack() -> Iterator[None]:
    """A limit on recursion that leaves forty frames."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 40)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


@pytest.mark.parametrize("shape", [chain, fan_in, diamonds, variants])
def test_time_grows_with_the_number_of_stages(shape: Callable[[int], Iterator[Provider]]):
    small, large = project(shape, STAGES // 4), project(shape, STAGES)
    little = much = float("inf")
    with shallow_stack():
        for _ in range(3):  # a slow moment of the machine passes
            little, much = min(little, seconds(small)), min(much, seconds(large))
            if much < min(10 * little, 3):
                break
    print(f"{shape.__name__}: {STAGES // 4:,} stages {little:.2f} s, {STAGES:,} {much:.2f} s")
    assert much < 10 * little  # linear is 4, quadratic 16
    assert much < 3


def test_stages_that_variants_do_not_share_are_there_for_each():
    flow = infer(project(variants, STAGES))
    assert len(flow.variants) == 4
    assert len(flow.instances) == 1 + 4 + 4 * (STAGES // 4)


def test_a_feature_with_thousands_of_providers_is_refused_at_once():
    stages = tuple(transformer(f"s{number}", ["x"], "y") for number in range(STAGES))
    crowded = Project((source("src", "x"),), stages, (Target("t", outputs=["y"]),))
    with shallow_stack(), pytest.raises(VariantExplosion) as caught:
        infer(crowded)
    assert len(str(caught.value)) < 10_000


def test_thousands_of_choices_on_cycles_are_refused_at_once():
    """Pairs of stages that undo each other, such as to Fahrenheit and back, beside sources."""
    pairs = STAGES // 4
    features = [f"{side}{number}" for number in range(pairs) for side in "ab"]
    there = (transformer(f"there{n}", [f"a{n}"], f"b{n}") for n in range(pairs))
    back = (transformer(f"back{n}", [f"b{n}"], f"a{n}") for n in range(pairs))
    target = Target("t", outputs=features)
    tangled = Project((source("src", *features),), (*there, *back), (target,))
    with shallow_stack(), pytest.raises(VariantExplosion):
        infer(tangled)


def test_a_mistake_at_the_end_of_a_long_chain_is_told_briefly():
    lacking = project(lambda size: chain(size, first="y"), STAGES)
    with shallow_stack(), pytest.raises(UnreachableOutput) as caught:
        infer(lacking)
    assert "stage `s0` reads `y`, which nothing provides" in caught.value.what
    assert f"({STAGES + 1 - 12:,} more)".replace(",", "") in caught.value.why
    assert len(str(caught.value).splitlines()) < 40

    circular = project(lambda size: chain(size, first=f"s{size - 1}"), STAGES)
    with shallow_stack(), pytest.raises(CyclicFlow) as caught:
        infer(circular)
    assert len(str(caught.value).splitlines()) < 40
