"""What every error about a declaration has to say."""

import linecache
from collections.abc import Callable
from pathlib import Path

import pytest

from ff_assets.core.errors import DefinitionError


def refused(kind: type[DefinitionError], declare: Callable[[], object]) -> DefinitionError:
    """The error that a declaration in one of these tests raises, if it says all that it has to."""
    with pytest.raises(DefinitionError) as caught:
        declare()
    error = caught.value
    assert type(error) is kind
    assert error.what
    assert error.why
    assert error.fix
    assert error.where
    for _, location in error.where:
        assert Path(location.file).parent == Path(__file__).parent
        assert f"{Path(location.file).name}:{location.line}" in str(error)
    return error


def lines(error: DefinitionError) -> list[str]:
    """The lines of code that an error points to."""
    return [linecache.getline(location.file, location.line).strip() for _, location in error.where]


def names(error: DefinitionError) -> list[str]:
    """What the lines that an error points to assign to."""
    return [line.partition(" = ")[0] for line in lines(error)]
