"""What a real run registers passes the gates as it is."""

import pytest

from ff_assets.cli.promote import scoring_gives
from ff_assets.core.steps import Kind, Step
from ff_assets.registry.gates import within
from ff_assets.registry.promotion import promote
from ff_assets.registry.runs import MlflowRuns
from ff_assets.registry.standing import reproducible
from ff_assets_tests.running import WholeRun

pytestmark = pytest.mark.xdist_group("whole")


def test_every_version_that_a_run_registers_may_be_promoted(whole: WholeRun) -> None:
    runs = MlflowRuns(whole.home.tracking_uri, None, "ff_assets")
    for variant in whole.flow.variants:
        target = variant.target
        registered = whole.ran.assets["/".join(Step(Kind.REGISTRATION, variant).path)][""]
        version = int(registered["registered_model"].rpartition("/")[2])
        labelled = [within("auc_test", at_least=0.0)] if target.task == "binary" else []

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
