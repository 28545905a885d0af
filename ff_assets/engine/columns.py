"""Physical columns: inside a wide frame every instance's column has a name of its own.

The name is the feature's with the fingerprint behind it, so variants cannot collide, and a
model that is loaded again finds the columns it was fitted on. Models that leave the run, and
tables in the store, speak logical names.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ff_assets.core.cells import BUCKET, CELL
from ff_assets.core.entities import Entity
from ff_assets.core.instance import Instance, Variant
from ff_assets.core.operations import SparkOperation

if TYPE_CHECKING:
    from pyspark.sql.types import StructType


def physical(name: str, fingerprint: str) -> str:
    """The column of a feature inside a wide frame."""
    return f"{name}__{fingerprint[:12]}"


def structural(entity: Entity) -> tuple[str, ...]:
    """The columns that every frame and table of an entity's rows has beside its features."""
    return (*entity.columns, BUCKET, CELL)


def plain_columns(schema: "StructType") -> dict[str, str]:
    """Column -> Spark SQL type, for the columns of a table that people look at."""
    hidden = (CELL, BUCKET)
    return {f.name: f.dataType.simpleString() for f in schema.fields if f.name not in hidden}


def private_columns(instance: Instance) -> dict[str, str]:
    """Column parameter -> stored name, for columns that are written but are not features."""
    operation = getattr(instance.provider, "operation", None)
    if not isinstance(operation, SparkOperation):
        return {}
    return {parameter: f"_{column}" for parameter, column in operation.private.items()}


def stored_columns(instance: Instance) -> tuple[str, ...]:
    """The columns of an instance's rows beside the key: its features, then private columns."""
    return (*instance.provider.outputs, *private_columns(instance).values())


def column_parameters(instance: Instance, names: Mapping[str, str]) -> dict[str, str | list[str]]:
    """Column parameters of a Spark class, with the features and private columns renamed.

    Args:
        names: feature or private column -> column in the frame.
    """
    operation = instance.stage.operation
    assert isinstance(operation, SparkOperation)
    renamed: dict[str, str | list[str]] = {}
    for columns in (operation.reads, operation.fit_reads, operation.writes):
        for parameter, value in columns.items():
            renamed[parameter] = (
                names[value] if isinstance(value, str) else [names[name] for name in value]
            )
    renamed.update({p: names[name] for p, name in private_columns(instance).items()})
    return renamed


def serving_names(variant: Variant) -> dict[Instance, dict[str, str]]:
    """The columns of a variant's registered model, by instance: logical names.

    A feature keeps its name. Spark's default columns keep theirs where only one stage has
    them, else the stage's name stands before; so do outputs that the variant takes elsewhere.
    """
    instances = [i for i in variant.serving_instances() if not i.is_given]
    taken = set(variant.features)
    counts: dict[str, int] = {}
    for instance in instances:
        for column in private_columns(instance).values():
            counts[column] = counts.get(column, 0) + 1
    names: dict[Instance, dict[str, str]] = {}
    for instance in instances:
        own = {name: name for name in (*instance.inputs, *instance.fit_inputs)}
        for output in instance.provider.outputs:
            chosen = variant.features.get(output) is instance
            own[output] = output if chosen else f"{instance.provider.name}_{output}"
        for stored in private_columns(instance).values():
            plain = stored.removeprefix("_")
            alone = counts[stored] == 1 and plain not in taken
            own[stored] = plain if alone else f"{instance.provider.name}_{plain}"
        names[instance] = own
    return names
