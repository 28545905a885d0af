"""What a real run registers passes the gates as it is."""

import pytest

from ff_assets.assets.promoting import scoring_gives
from ff_assets.core.instance import Variant
from ff_assets.core.steps import Kind, Step
from ff_assets.registry.gates import floor
from ff_assets.registry.promotion import promote
from ff_assets.registry.runs import MlflowRuns
from ff_assets.registry.standing import reproducible
from ff_assets_tests.running import WholeRun

pytestmark = pytest.mark.xdist_group("whole")


def registered_as(whole: WholeRun, variant: Variant) -> int:
    registered = whole.ran.assets["/".join(Step(Kind.REGISTRATION, variant).path)][""]
    return int(registered["registered_model"].rpartition("/")[2])


def is_in_place(whole: WholeRun, variant: Variant) -> bool:
    aliases = whole.home.client.get_registered_model(variant.target.name).aliases
    return int(aliases.get("staging", 0)) == registered_as(whole, variant)


def test_every_version_that_a_run_registers_may_be_promoted(whole: WholeRun) -> None:
    runs = MlflowRuns(whole.home.tracking_uri, None, "ff_assets")
    # Other tests promote versions of the same run; what is in place already moves last.
    for variant in sorted(whole.flow.variants, key=lambda v: is_in_place(whole, v)):
        target, version = variant.target, registered_as(whole, variant)
        labelled = [floor("auc", 0.0, is_loss=False)] if target.task == "binary" else []

        done = promote(
            runs,
            target.name,
            "staging",
            variant=variant.name,
            why="it is there",
            given=dict(scoring_gives(whole.flow, target.name)),
            gates=labelled,
        )

        assert done.logged.entry.after == version
        assert done.logged.entry.override == ""
        assert bool(done.logged.entry.certificate) == (target.label is not None)
        assert reproducible(runs, target.name, version).is_so
