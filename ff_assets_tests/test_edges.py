"""A model asset that would read test rows is refused when the definitions load, whoever drew it."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from ff_assets import Target
from ff_assets.assets.build import build_definitions
from ff_assets.assets.edges import check_edges
from ff_assets.assets.op import flow_assets
from ff_assets.assets.specs import CELL_PARTITIONS
from ff_assets.core.errors import LeakError
from ff_assets.core.flow import infer
from ff_assets.settings import Settings
from ff_assets_tests.projects import reviews, sentiment_stage, small_project

VECTOR = dg.AssetKey(["features", "hashed"])
TRAIN = dg.SpecificPartitionsPartitionMapping(["train"])
PROJECT = small_project(reviews(Path("reviews.parquet")))


def load(*assets: Any) -> dg.Definitions:
    return build_definitions(PROJECT, Settings.load(), assets)


def refused(*assets: Any) -> LeakError:
    with pytest.raises(LeakError) as caught:
        load(*assets)
    assert caught.value.code == "MODEL_READS_TEST"
    return caught.value


def reading_all(kinds: set[str], **given: Any) -> dg.AssetsDefinition:
    @dg.asset(name="ranking", kinds=kinds, deps=[VECTOR], **given)
    def ranking() -> None: ...

    return ranking


# Edges of a fork's own models


@pytest.mark.parametrize("kind", ["model", "sparkml", "mlflow"])
def test_a_model_with_dagsters_default_mapping_is_refused(kind: str) -> None:
    error = refused(reading_all({kind, "python"}))

    assert error.what == "the model `ranking` reads train and test of `features/hashed`."
    assert "names no partition mapping" in error.why
    assert "path: features/hashed -> ranking" in error.why
    assert 'dg.AssetKey(["features", "hashed"])' in error.fix
    assert 'dg.SpecificPartitionsPartitionMapping(["train"])' in error.fix
    assert [(Path(place.file).name, thing) for thing, place in error.where] == [
        ("test_edges.py", "asset 'ranking'"),
        ("projects.py", "stage 'hashed'"),
    ]


@pytest.mark.parametrize(
    ("mapping", "read"),
    [
        (dg.AllPartitionMapping(), "train and test"),
        (dg.LastPartitionMapping(), "test"),
        (dg.SpecificPartitionsPartitionMapping(["test"]), "test"),
        (dg.SpecificPartitionsPartitionMapping(["train", "test"]), "train and test"),
    ],
)
def test_a_mapping_that_covers_test_is_refused(mapping: dg.PartitionMapping, read: str) -> None:
    """However it is named; the last cell is test."""

    @dg.asset(kinds={"model"}, ins={"rows": dg.AssetIn(VECTOR, partition_mapping=mapping)})
    def ranking(rows: Any) -> None: ...

    error = refused(ranking)
    assert error.what == f"the model `ranking` reads {read} of `features/hashed`."
    assert type(mapping).__name__ in error.why


def test_the_edge_that_is_to_blame_is_found_among_good_ones() -> None:
    @dg.asset(
        kinds={"model"},
        deps=[dg.AssetDep(VECTOR, partition_mapping=TRAIN), dg.AssetDep(["sources", "reviews"])],
    )
    def ranking() -> None: ...

    assert "`sources/reviews`" in refused(ranking).what


def test_a_model_that_is_only_declared_is_refused_too() -> None:
    """Its asset is made elsewhere, so there is no code to point to."""
    error = refused(dg.AssetSpec("ranking", kinds={"mlflow"}, deps=[VECTOR]))
    assert [thing for thing, _ in error.where] == ["stage 'hashed'"]


# Rows that reach a model through other assets


@dg.asset(deps=[VECTOR])
def table() -> None: ...


@dg.asset(deps=[table], kinds={"parquet"})
def copy() -> None: ...


@dg.asset(deps=[copy, table], kinds={"model"})
def ranking() -> None: ...


def test_a_table_in_between_hides_nothing() -> None:
    error = refused(table, copy, ranking)
    assert error.what.endswith("of `features/hashed` through `table`.")
    assert "path: features/hashed -> table -> ranking" in error.why  # the shortest
    assert "name train in `table`" in error.fix


def test_nor_does_a_fork_s_own_table_with_cells() -> None:
    @dg.asset(deps=[VECTOR], partitions_def=CELL_PARTITIONS)
    def cells() -> None: ...

    @dg.asset(deps=[cells], kinds={"model"})
    def by_cells() -> None: ...

    @dg.asset(deps=[dg.AssetDep(cells, partition_mapping=TRAIN)], kinds={"model"})
    def on_train() -> None: ...

    assert refused(cells, by_cells).what.endswith("of `cells`.")
    load(cells, on_train)


def test_a_table_of_train_may_feed_a_model() -> None:
    @dg.asset(name="table", deps=[dg.AssetDep(VECTOR, partition_mapping=TRAIN)])
    def of_train() -> None: ...

    definitions = load(of_train, copy, ranking)
    assert definitions.resolve_asset_graph().has(ranking.key)


# Models with partitions

DAYS = dg.StaticPartitionsDefinition(["monday", "tuesday"])
BY_DAY = dg.MultiPartitionsDefinition({"day": DAYS, "cell": CELL_PARTITIONS})
EVERY = dg.AllPartitionMapping()


@pytest.mark.parametrize("kind", ["model", "sparkml", "mlflow"])
def test_a_model_for_each_cell_would_be_fitted_on_test(kind: str) -> None:
    error = refused(reading_all({kind, "python"}, partitions_def=CELL_PARTITIONS))
    assert error.what == "the model `ranking` reads train and test of `features/hashed`."
    assert "Dagster then takes for each partition the cell of its name" in error.why
    assert "one that only applies a model has no kind of a model" in error.fix


@pytest.mark.filterwarnings("ignore::dagster.BetaWarning")
def test_nor_may_cells_be_one_dimension_of_a_models_partitions() -> None:
    refused(reading_all({"model"}, partitions_def=BY_DAY))


@pytest.mark.parametrize(
    "partitions",
    [CELL_PARTITIONS, DAYS, dg.DynamicPartitionsDefinition(name="shops")],
    ids=["cells", "days", "shops"],
)
def test_models_with_partitions_may_all_be_fitted_on_train(
    partitions: dg.PartitionsDefinition[str],
) -> None:
    def model(mapping: dg.PartitionMapping) -> dg.AssetsDefinition:
        @dg.asset(
            name="ranking",
            kinds={"model"},
            deps=[dg.AssetDep(VECTOR, partition_mapping=mapping)],
            partitions_def=partitions,
        )
        def made() -> None: ...

        return made

    load(model(TRAIN))
    assert "reads train and test" in refused(model(EVERY)).what


def test_train_of_a_fork_s_own_table_must_be_made_from_train() -> None:
    def cells(mapping: dg.PartitionMapping | None) -> dg.AssetsDefinition:
        @dg.asset(
            name="cells",
            deps=[dg.AssetDep(VECTOR, partition_mapping=mapping)],
            partitions_def=CELL_PARTITIONS,
        )
        def made() -> None: ...

        return made

    @dg.asset(kinds={"model"}, deps=[dg.AssetDep(dg.AssetKey("cells"), partition_mapping=TRAIN)])
    def on_train() -> None: ...

    load(cells(None), on_train)
    error = refused(cells(EVERY), on_train)
    assert error.what == (
        "the model `on_train` reads train and test of `features/hashed` through `cells`."
    )


def test_a_table_by_day_in_between_hides_nothing() -> None:
    @dg.asset(
        deps=[dg.AssetDep(VECTOR, partition_mapping=EVERY)], partitions_def=DAYS, name="table"
    )
    def by_day() -> None: ...

    assert refused(by_day, copy, ranking).what.endswith("through `table`.")


# Tables with partitions of their own

THREE = dg.StaticPartitionsDefinition(["train", "validation", "test"])
BY_SHOP = dg.MultiPartitionsDefinition(
    {"shop": dg.DynamicPartitionsDefinition(name="shops"), "cell": CELL_PARTITIONS}
)


def own_table(
    partitions: dg.PartitionsDefinition[str], mapping: dg.PartitionMapping | None = None
) -> dg.AssetsDefinition:
    @dg.asset(
        name="table",
        deps=[dg.AssetDep(VECTOR, partition_mapping=mapping)],
        partitions_def=partitions,
    )
    def made() -> None: ...

    return made


def model_on(*partitions: str) -> dg.AssetsDefinition:
    mapping = dg.SpecificPartitionsPartitionMapping(partitions) if partitions else None

    @dg.asset(
        name="ranking", kinds={"model"}, deps=[dg.AssetDep("table", partition_mapping=mapping)]
    )
    def made() -> None: ...

    return made


@pytest.mark.filterwarnings("ignore::dagster.BetaWarning")
@pytest.mark.parametrize(
    ("partitions", "of_train", "of_test"),
    [
        (BY_DAY, ["train|monday", "train|tuesday"], "test|monday"),
        (BY_SHOP, ["train|north"], "test|north"),
        (THREE, ["train", "validation"], "test"),
    ],
    ids=["by day and cell", "by shop and cell", "three cells"],
)
def test_a_model_may_read_train_of_a_table_with_other_partitions(
    partitions: dg.PartitionsDefinition[str], of_train: list[str], of_test: str
) -> None:
    load(own_table(partitions), model_on(*of_train))
    error = refused(own_table(partitions), model_on(*of_train, of_test))
    assert error.what == "the model `ranking` reads train and test of `table`."
    assert refused(own_table(partitions), model_on(of_test)).what.endswith("reads test of `table`.")
    assert refused(own_table(partitions), model_on()).what == error.what


@pytest.mark.filterwarnings("ignore::dagster.BetaWarning")
def test_the_fix_names_the_partitions_of_train() -> None:
    fix = refused(own_table(BY_DAY), model_on()).fix
    assert 'AssetKey(["table"]), ' in fix
    assert 'SpecificPartitionsPartitionMapping(["train|monday", "train|tuesday"])' in fix
    load(own_table(BY_DAY), model_on("train|monday", "train|tuesday"))


@pytest.mark.filterwarnings("ignore::dagster.BetaWarning")
@pytest.mark.parametrize(
    ("partitions", "train"), [(BY_DAY, "train|monday"), (THREE, "train")], ids=["by day", "three"]
)
def test_train_of_such_a_table_must_be_made_from_train(
    partitions: dg.PartitionsDefinition[str], train: str
) -> None:
    error = refused(own_table(partitions, EVERY), model_on(train))
    assert error.what.endswith("reads train and test of `features/hashed` through `table`.")
    assert error.fix.startswith(
        "let each cell of `table` be made from that cell of `features/hashed`: leave its"
    )
    load(own_table(partitions), model_on(train))


@pytest.mark.filterwarnings("ignore::dagster.BetaWarning")
def test_days_in_between_are_followed_to_the_cells_that_they_are_made_from() -> None:
    """Monday is made from train, Tuesday from both."""
    days = dg.StaticPartitionMapping({"train": ["monday", "tuesday"], "test": "tuesday"})
    load(own_table(DAYS, days), model_on("monday"))
    error = refused(own_table(DAYS, days), model_on("monday", "tuesday"))
    assert error.what.endswith("reads train and test of `features/hashed` through `table`.")


# What does not fit


@pytest.mark.parametrize(
    "asset",
    [
        reading_all({"python"}),
        reading_all({"mlflow", "evaluation"}),
        reading_all({"spark", "table"}, partitions_def=CELL_PARTITIONS),
    ],
    ids=["a report", "a measurement", "scores by cell"],
)
def test_what_does_not_fit_may_read_everything(asset: dg.AssetsDefinition) -> None:
    load(asset)


def test_a_model_may_wait_for_measurements() -> None:
    @dg.asset(kinds={"evaluation"}, deps=[VECTOR])
    def drift() -> None: ...

    @dg.asset(kinds={"model"}, deps=[drift, dg.AssetKey(["evaluations", "sentiment_evaluation"])])
    def ranking() -> None: ...

    load(drift, ranking)


def serving_refit() -> dg.Definitions:
    """A refit on all rows that only serves, and its registration, which has no evaluation."""
    refit = sentiment_stage().fit_on("train", "test").serve_only()
    scores = Target("scores", outputs=["sentiment"])
    project = small_project(
        reviews(Path("reviews.parquet")), replaced={"sentiment": refit}, target=scores
    )
    return build_definitions(project, Settings.load())


def test_the_projects_own_assets_pass() -> None:
    """Registrations have a model's kinds and read all cells; a refit says which cells it reads."""
    graph = serving_refit().resolve_asset_graph()
    registration = graph.get(dg.AssetKey(["registry", "scores_registered"]))
    assert {"mlflow", "model"} <= registration.kinds
    assert dg.AssetKey(["features", "sentiment"]) in registration.parent_keys
    load()


def test_the_projects_own_edges_are_held_to_the_rule() -> None:
    """If the specs forgot the mapping, nothing would load."""
    flow = infer(PROJECT)
    careless = flow_assets(flow).map_asset_specs(
        lambda spec: spec.replace_attributes(deps=[dep.asset_key for dep in spec.deps])
    )
    with pytest.raises(LeakError, match="the model `models/sentiment_model` reads train and test"):
        check_edges(flow, [careless])
