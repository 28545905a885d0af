"""A Spark ML stage that computes a column with a Python function over columns.

This file is published with every model that contains such a stage, as `ff_column_function.py`, so
it imports nothing but the standard library and pyspark, and the class names that module as its
own. A model thus loads where the project does not exist, and the name can never shadow the project
where it does.

The function itself travels by value, as bytecode: a model in production keeps the function that it
was evaluated with, whatever the project's source has become since.
"""

import base64
import copy
import dis
import io
import pickle
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from pyspark import cloudpickle
from pyspark.ml import Transformer
from pyspark.ml.param.shared import HasInputCols, HasOutputCol
from pyspark.ml.util import (
    DefaultParamsReader,
    DefaultParamsWriter,
    MLReadable,
    MLReader,
    MLWritable,
    MLWriter,
)
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.udf import UserDefinedFunction

_MODULE = "ff_column_function"
# Spark finds a stage's class by importing its module's name: here that is this very module. What
# a loaded model brought first stays, as two classes of one name would not know each other.
sys.modules.setdefault(_MODULE, sys.modules[__name__])

_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
_by_value_lock = threading.Lock()


class NotPortableError(ValueError):
    """A function that would not work in a process that has only the model, and not the project."""


class ColumnFunction(
    Transformer, HasInputCols, HasOutputCol, MLWritable, MLReadable["ColumnFunction"]
):
    """Adds the column `outputCol = function(inputCols...)`.

    The stage runs the copy of the function that it will save, so what is evaluated is what is
    published, and Python UDFs inside it run on executors that do not have the project.

    Args:
        function: Takes one `Column` per name in `inputCols`, in that order, and returns a `Column`
            that depends on nothing but the same row.
        inputCols: Names of the columns that are read.
        outputCol: Name of the column that is added.

    Raises:
        NotPortableError: The function cannot be taken along by value: it holds something that is
            bound to this process, or it imports the project inside its body.
    """

    __module__ = _MODULE
    code_file = Path(__file__)
    """What a model must bring for this class, under the name of its module."""

    def __init__(
        self, *, function: Callable[..., Column], inputCols: Sequence[str], outputCol: str
    ) -> None:
        super().__init__()
        self._carry(_pickled(function), _name(function))
        self._set(inputCols=list(inputCols), outputCol=outputCol)

    def _carry(self, pickled: bytes, name: str) -> None:
        self._payload = pickled
        self._function = cloudpickle.loads(pickled)
        self._function_name = name

    @property
    def imports(self) -> frozenset[str]:
        """Top-level modules beyond the standard library that the function imports to run."""
        return _imports(self._payload) - sys.stdlib_module_names

    def setInputCols(self, value: Sequence[str]) -> "ColumnFunction":
        """Sets the names of the columns that are read."""
        return self._set(inputCols=list(value))

    def setOutputCol(self, value: str) -> "ColumnFunction":
        """Sets the name of the column that is added."""
        return self._set(outputCol=value)

    def _transform(self, dataset: DataFrame) -> DataFrame:
        output = self.getOutputCol()
        if output in dataset.columns:
            raise ValueError(
                f"The column {output!r} exists already, and {self._function_name} would overwrite "
                f"it. Drop or rename it before transforming."
            )
        column = self._function(*map(F.col, self.getInputCols()))
        if not isinstance(column, Column):
            raise TypeError(
                f"{self._function_name} returned {column!r} ({type(column).__name__}), not a "
                f"pyspark Column. Return an expression over its arguments, such as F.length(text); "
                f"F.lit(...) makes a column of a constant."
            )
        return dataset.withColumn(output, column)

    def write(self) -> MLWriter:
        """A writer of Spark's own layout for Python stages, plus the function."""
        return _Writer(self)

    @classmethod
    def read(cls) -> MLReader["ColumnFunction"]:
        """A reader of what `write` wrote."""
        return _Reader()


class _Writer(MLWriter):
    def __init__(self, stage: ColumnFunction) -> None:
        super().__init__()
        self._stage = stage

    def saveImpl(self, path: str) -> None:
        function = {
            "name": self._stage._function_name,
            "python": _PYTHON,
            "pickle": base64.b64encode(self._stage._payload).decode("ascii"),
        }
        DefaultParamsWriter.saveMetadata(
            self._stage, path, self.sparkSession, extraMetadata={"function": function}
        )


class _Reader(MLReader[ColumnFunction]):
    def load(self, path: str) -> ColumnFunction:
        metadata = DefaultParamsReader.loadMetadata(path, self.sparkSession)
        function = metadata["function"]
        name = function["name"]
        # Bytecode of another minor version may load and then compute nonsense or crash.
        if function["python"] != _PYTHON:
            raise RuntimeError(
                f"The column function {name} in {path} was saved with Python {function['python']} "
                f"and cannot run on Python {_PYTHON}, because its bytecode belongs to one minor "
                f"version. Load the model with Python {function['python']}, which its "
                f"python_env.yaml names, or publish it again from Python {_PYTHON}."
            )
        stage = ColumnFunction.__new__(ColumnFunction)
        super(ColumnFunction, stage).__init__()
        try:
            stage._carry(base64.b64decode(function["pickle"]), name)
        except ImportError as error:
            raise RuntimeError(
                f"The column function {name} in {path} needs the module {error.name!r}, which is "
                f"not installed here. Install the model's requirements.txt."
            ) from error
        stage._resetUid(metadata["uid"])
        DefaultParamsReader.getAndSetParams(stage, metadata)
        return stage


def _name(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{getattr(function, '__qualname__', type(function).__name__)}"


def _pickled(function: Callable[..., Column]) -> bytes:
    """The function by value, with everything of its project that it uses.

    Raises:
        NotPortableError: It cannot be pickled, or would import its own project when run.
    """
    project = function.__module__.partition(".")[0]
    buffer = io.BytesIO()
    try:
        with _by_value(project):
            _Pickler(buffer).dump(function)
    except Exception as error:
        raise NotPortableError(
            f"The column function {_name(function)} cannot be saved with a model, because "
            f"something that it uses cannot be pickled: {error}. Create it inside the function, or "
            f"keep only plain values and functions in the module's variables that it reads."
        ) from error
    if {project, ""} & _imports(buffer.getvalue()):
        raise NotPortableError(
            f"The column function {_name(function)} imports {project!r} while it runs, so a saved "
            f"model would need the project itself. Move that import to the top of its module, and "
            f"import the functions by name (from {project}.x import f): they are then saved with "
            f"it."
        )
    return buffer.getvalue()


class _Pickler(cloudpickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        # A UDF that was used before holds an object of this process's JVM, made anew on demand.
        if isinstance(obj, UserDefinedFunction):
            unused = copy.copy(obj)
            unused._judf_placeholder = None
            return object.__reduce_ex__(unused, 4)
        return super().reducer_override(obj)


@contextmanager
def _by_value(package: str) -> Iterator[None]:
    """Lets pickles take along, and not refer to, what is defined anywhere in the package."""
    module = sys.modules.get(package)
    with _by_value_lock:
        if module is None or package in cloudpickle.list_registry_pickle_by_value():
            yield
            return
        cloudpickle.register_pickle_by_value(module)
        try:
            yield
        finally:
            cloudpickle.unregister_pickle_by_value(module)


def _imports(pickled: bytes) -> frozenset[str]:
    """Top-level names of the modules that a pickle imports, on loading or in its functions.

    A relative import, whose package is not known here, counts as the name "".
    """
    loading = _ImportRecorder(io.BytesIO(pickled))
    loading.load()
    return frozenset(name.partition(".")[0] for name in loading.modules)


class _ImportRecorder(pickle.Unpickler):
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.modules: set[str] = set()

    def find_class(self, module: str, name: str) -> Any:
        self.modules.add(module)
        found = super().find_class(module, name)
        if found is cloudpickle.subimport:
            return self._subimport
        if found is cloudpickle.cloudpickle._make_function:
            return self._make_function
        return found

    def _subimport(self, name: str) -> Any:
        self.modules.add(name)
        return cloudpickle.subimport(name)

    def _make_function(self, code: CodeType, *rest: Any) -> FunctionType:
        self._scan(code)
        return cloudpickle.cloudpickle._make_function(code, *rest)

    def _scan(self, code: CodeType) -> None:
        instructions = list(dis.get_instructions(code))
        for position, instruction in enumerate(instructions):
            if instruction.opname == "IMPORT_NAME":
                # The compiler loads the number of leading dots, then the names, then imports.
                dots = instructions[position - 2].argval
                self.modules.add("." * dots + instruction.argval)
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                self._scan(constant)
