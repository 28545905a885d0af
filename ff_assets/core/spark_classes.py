"""Reading a Spark ML class: which of its parameters name columns, and what those are to the stage.

Parameters are read from class attributes and signatures, so that declaring a stage constructs
nothing and starts no JVM.
"""

import inspect
from collections.abc import Mapping
from functools import cache
from typing import Any

from ff_assets.core.errors import (
    DefinitionError,
    Location,
    UnknownParameter,
    WrongParameterType,
    nearest,
)
from ff_assets.core.operations import SparkOperation

# Spark's own column parameters, by what the column is to the stage.
_READ = (
    "inputCol",
    "inputCols",
    "featuresCol",
    "userCol",
    "itemCol",
    "itemsCol",
    "categoricalCols",
    "offsetCol",
)
_READ_BY_FIT = ("labelCol", "weightCol", "censorCol", "ratingCol", "validationIndicatorCol")
_WRITTEN = (
    "outputCol",
    "outputCols",
    "predictionCol",
    "probabilityCol",
    "rawPredictionCol",
    "topicDistributionCol",
    "leafCol",
    "varianceCol",
    "quantilesCol",
    "linkPredictionCol",
)
# Columns that Spark writes although nobody named them.
_WRITTEN_BY_DEFAULT = {
    "predictionCol": "prediction",
    "probabilityCol": "probability",
    "rawPredictionCol": "rawPrediction",
    "topicDistributionCol": "topicDistribution",
}


def spark_operation(cls: type, given: Mapping[str, Any], location: Location) -> SparkOperation:
    """Read inputs, outputs and parameters of a Spark class from the arguments it was given.

    Raises:
        UnknownParameter: an argument is not a parameter of the class.
        WrongParameterType: Spark's own type converter refuses a value.
        DefinitionError: the arguments name no input or no output column.
    """
    here = [(f"stage({cls.__name__}, ...)", location)]
    known = _spark_params(cls)
    for name, value in given.items():
        if name not in known:
            raise UnknownParameter(
                f"{cls.__name__} has no parameter `{name}`.",
                where=here,
                why=nearest(name, known),
                fix=f"use one of {cls.__name__}'s own parameters.",
            )
        if value is not None:
            _check_type(cls, name, value, known[name], here)
    given = {name: value for name, value in given.items() if value is not None}  # as Spark does
    defaults = _default_columns(cls)

    def columns(names: tuple[str, ...], *, with_defaults: bool) -> dict[str, Any]:
        found = {}
        for name in names:
            value = given.get(name, defaults.get(name) if with_defaults else None)
            if value and name in known:
                found[name] = value if isinstance(value, str) else tuple(value)
        return found

    operation = SparkOperation(
        cls=cls,
        params={
            name: value
            for name, value in given.items()
            if name not in _READ and name not in _READ_BY_FIT and name not in _WRITTEN
        },
        reads=columns(_READ, with_defaults=True),
        fit_reads=columns(_READ_BY_FIT, with_defaults=True),
        writes=columns(_WRITTEN, with_defaults=False),
        private={
            name: column
            for name, column in _WRITTEN_BY_DEFAULT.items()
            if name in known and not given.get(name)
        },
    )
    if not operation.writes:
        outputs = [name for name in _WRITTEN if name in known]
        read = [name for name in (*_READ, *_READ_BY_FIT) if name in known]
        raise DefinitionError(
            f"stage({cls.__name__}, ...) names no output.",
            where=here,
            why="only outputs that are named explicitly become features."
            if outputs
            else f"{cls.__name__} names its output by none of Spark's usual parameters; its "
            f"{' and '.join(read)} are taken for inputs, as in other classes."
            if read
            else f"{cls.__name__} has no parameter that names an output column.",
            fix=f"name {' or '.join(outputs)}."
            if outputs
            else "use a class that has one, such as outputCol or predictionCol.",
        )
    if not operation.reads:
        raise DefinitionError(
            f"stage({cls.__name__}, ...) names no input.",
            where=here,
            why="a stage is placed in a flow by the names of the features it reads.",
            fix=f"name {' or '.join(n for n in _READ if n in known) or 'its input columns'}.",
        )
    return operation


@cache
def _default_columns(cls: type) -> dict[str, str]:
    """Spark's defaults of parameters that hold a string, such as `featuresCol`."""
    return {
        name: parameter.default
        for name, parameter in inspect.signature(cls).parameters.items()
        if isinstance(parameter.default, str)
    }


@cache
def _spark_params(cls: type) -> dict[str, Any]:
    """Spark declares every parameter as a class attribute that has a type converter."""
    params = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            if hasattr(value, "typeConverter"):
                params[name] = value
    return params


def _check_type(
    cls: type, name: str, value: Any, param: Any, here: list[tuple[str, Location]]
) -> None:
    try:
        param.typeConverter(value)
    except (TypeError, ValueError) as error:
        raise WrongParameterType(
            f"{cls.__name__} refuses {name}={value!r}.",
            where=here,
            why=str(error),
            fix=f"{name}: {param.doc}",
        ) from None
