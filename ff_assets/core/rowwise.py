"""Finding code that mixes rows, in functions and transformers that are declared as row-wise.

A window, a group or a rank makes a row's value depend on other rows, test rows among them, and
is a fit that nobody declared. Bytecode is read and nothing is run: names are resolved through the
function's own globals, closure and imports, so that `F.max` is told from Python's `max`.
"""

import builtins
import dis
import functools
import importlib
import importlib.util
import inspect
import re
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import CodeType, FunctionType, ModuleType
from typing import Any

from ff_assets.core.errors import Location

_FUNCTIONS = ("pyspark.sql.functions", "pyspark.sql.connect.functions")
_WINDOWS = ("pyspark.sql.window", "pyspark.sql.connect.window")

# Spark's aggregate and window functions, as its reference groups them.
_MIXING_NAMES = """
    any_value approx_count_distinct approx_percentile array_agg avg bit_and bit_or bit_xor
    bitmap_and_agg bitmap_construct_agg bitmap_or_agg bool_and bool_or collect_list collect_set
    collect_union corr count count_distinct countDistinct count_if count_min_sketch covar_pop
    covar_samp every first first_value grouping grouping_id histogram_numeric hll_sketch_agg
    hll_union_agg kll_merge_agg_bigint kll_merge_agg_double kll_merge_agg_float
    kll_sketch_agg_bigint kll_sketch_agg_double kll_sketch_agg_float kurtosis last last_value
    listagg listagg_distinct max max_by mean median min min_by mode percentile percentile_approx
    product regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy
    regr_syy skewness some std stddev stddev_pop stddev_samp string_agg string_agg_distinct sum
    sum_distinct sumDistinct theta_intersection_agg theta_sketch_agg theta_union_agg try_avg
    try_sum tuple_intersection_agg_double tuple_intersection_agg_integer tuple_sketch_agg_double
    tuple_sketch_agg_integer tuple_union_agg_double tuple_union_agg_integer var_pop var_samp
    variance
"""
_WINDOW_NAMES = """
    counter_diff cume_dist dense_rank lag lead nth_value ntile percent_rank rank row_number
"""
# They are given many rows at a time, or a function that only its name tells of.
_BATCH_NAMES = "arrow_udf call_function call_udf pandas_udf"
ACROSS_GROUPS = frozenset(f"{_WINDOW_NAMES} {_BATCH_NAMES}".split())
MIXING = ACROSS_GROUPS | frozenset(_MIXING_NAMES.split())
_ROW_BY_ROW = (None, 100, 101)  # Spark's numbers of Python functions that get one row at a time
# Their value differs from one computation of a row to the next.
_VOLATILE_NAMES = """
    current_date current_time current_timestamp curdate input_file_block_length
    input_file_block_start input_file_name localtimestamp monotonically_increasing_id now rand randn
    random randstr shuffle spark_partition_id uniform uuid
"""
VOLATILE = frozenset(_VOLATILE_NAMES.split())
_SQL = ("expr", "selectExpr", "sql")
_IN_SQL = re.compile(rf"\b(over|{'|'.join(sorted(MIXING | VOLATILE))})\s*\(", re.IGNORECASE)
_ON_COLUMNS = frozenset({"over"})
_BATCHES = frozenset(_BATCH_NAMES.split())
# What a data frame does with other rows than one at a time.
_FRAME_METHODS = """
    agg approxQuantile collect corr cov crossJoin crosstab cube describe distinct dropDuplicates
    dropDuplicatesWithinWatermark drop_duplicates exceptAll first freqItems groupBy groupby
    groupingSets head intersect intersectAll join lateralJoin limit mapInArrow mapInPandas offset
    pandas_api pivot randomSplit rollup sample sampleBy subtract summary tail take toLocalIterator
    toPandas union unionAll unionByName
"""
_ON_FRAMES = _ON_COLUMNS | frozenset(_FRAME_METHODS.split())
_MIXES = "its value for a row depends on other rows, so rows of test have a say in those of train"
_VARIES = "its value for a row is another one each time, so no result can be had again"


@dataclass(frozen=True)
class Mixing:
    """What a row-wise stage must not do.

    Attributes:
        what: names it, as it stands in the code.
        why: what is wrong with it.
        location: where it stands.
    """

    what: str
    why: str
    location: Location


@functools.cache
def mixing(declared: Callable[..., Any], *, grouped: bool = False) -> Mixing | None:
    """The first place where a column function or a transformer class mixes rows.

    Args:
        declared: the function or class.
        grouped: whether it may mix those of one group, as the function of an aggregate does.

    Followed are functions of its own top-level package and, in a class, its own methods. Classes
    of Spark are taken at their word.
    """
    if isinstance(declared, type):
        entry = getattr(declared, "_transform", None)
        if not isinstance(entry, FunctionType) or entry.__module__.startswith("pyspark."):
            return None
        return next(_Search(declared, _ON_FRAMES, MIXING).found(entry), None)
    function = _function(declared)
    search = _Search(None, _ON_COLUMNS, ACROSS_GROUPS if grouped else MIXING)
    return next(search.found(function), None) if function else None


_UNKNOWN = object()  # a value that only a run of the code would tell
_KEEP = ("PUSH_NULL", "SWAP", "POP_TOP", "NOP", "CACHE", "RESUME", "COPY_FREE_VARS", "EXTENDED_ARG")


class _Search:
    """A walk through a function and those that it refers to, each once.

    Args:
        owner: the class whose methods are searched; `None` for a function.
        methods: what must not be called on values that only a run would tell.
        functions: names of Spark's functions that must not be called.
    """

    def __init__(
        self, owner: type | None, methods: frozenset[str], functions: frozenset[str]
    ) -> None:
        self._owner = owner
        self._methods = methods
        self._functions = functions

    def found(self, entry: FunctionType) -> Iterator[Mixing]:
        root = entry.__module__.partition(".")[0]
        seen: set[CodeType] = set()
        agenda = [entry]
        for function in agenda:  # grows while it is walked
            if function.__code__ in seen:
                continue
            seen.add(function.__code__)
            code = function.__code__
            known: dict[str, Any] = {}
            if self._owner is not None and code.co_argcount:
                known[code.co_varnames[0]] = self._owner  # `self`
            for value, name, line in self._loaded(code, _names(function), known):
                why = self._objection(value, name)
                if why:
                    yield Mixing(name, why, Location(code.co_filename, line))
                used = _function(value)
                if used is not None and _is_own(used, root):
                    agenda.append(used)

    def _objection(self, value: Any, name: str) -> str:
        """Why a value must not be used; empty if it may."""
        module = str(getattr(value, "__module__", ""))
        if value is _UNKNOWN:
            return _MIXES  # a method from the list
        if isinstance(value, type):
            return _MIXES if module.startswith(_WINDOWS) else ""
        if isinstance(value, str):
            mixes = name == "over" or name in self._functions
            return _MIXES if mixes else _VARIES if name in VOLATILE else ""
        if getattr(value, "evalType", None) not in _ROW_BY_ROW:
            return _MIXES
        called = getattr(value, "__name__", "")
        if module.startswith(_FUNCTIONS) or (module.startswith("pyspark.") and called in _BATCHES):
            return _MIXES if called in self._functions else _VARIES if called in VOLATILE else ""
        return ""

    def _loaded(
        self, code: CodeType, names: Mapping[str, Any], outer: Mapping[str, Any]
    ) -> Iterator[tuple[Any, str, int]]:
        """The values that code refers to, as (value, name, line).

        Among them are forbidden methods of unknown values, and calls inside of SQL texts.

        Args:
            outer: local names whose values are known.
        """
        known = dict(outer)
        texts: list[tuple[str, int]] = []
        imported: Any = None
        value: Any = _UNKNOWN
        line = code.co_firstlineno
        steps = list(dis.get_instructions(code))
        for index, step in enumerate(steps):
            line = (step.positions and step.positions.lineno) or line
            name = step.argval
            if step.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_CLASSDEREF"):
                value = known.get(name, names.get(name, _UNKNOWN))
            elif step.opname.startswith("LOAD_FAST"):
                name = name[-1] if isinstance(name, tuple) else name
                value = known.get(name, _UNKNOWN)
            elif step.opname in ("LOAD_ATTR", "LOAD_METHOD"):
                if value is _UNKNOWN and name in self._methods:
                    yield _UNKNOWN, f".{name}", line
                value = self._attribute(value, name)
            elif step.opname == "IMPORT_NAME":
                level, members = (s.argval for s in steps[index - 2 : index])
                value = imported = _imported(level, name, members, names.get("__package__"))
            elif step.opname == "IMPORT_FROM":
                value = self._attribute(imported, name)
            elif step.opname.startswith("STORE_"):
                if isinstance(name, str):
                    known[name] = value
                value = _UNKNOWN
            elif step.opname == "LOAD_CONST" and isinstance(name, CodeType):
                yield from self._loaded(name, names, known)
            elif step.opname == "LOAD_CONST":
                value = name
            elif step.opname not in _KEEP:
                value = _UNKNOWN
            if isinstance(value, str):
                texts.append((value, line))
            elif step.opname.startswith(("LOAD", "IMPORT")) and value is not _UNKNOWN:
                yield value, str(name), line
        if not {*_SQL}.isdisjoint(code.co_names):
            for text, line in texts:
                for call in _IN_SQL.finditer(text):
                    yield text, call[1].lower(), line

    def _attribute(self, value: Any, name: str) -> Any:
        """An attribute, looked up without running anything."""
        if value is _UNKNOWN:
            return _UNKNOWN
        if isinstance(value, ModuleType):
            return vars(value).get(name, _UNKNOWN)
        if isinstance(value, type):
            return inspect.getattr_static(value, name, None)  # what an object has is its own
        return None


def _names(function: FunctionType) -> Mapping[str, Any]:
    """The values of the names that a function takes from around it."""
    closure = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            closure[name] = cell.cell_contents
        except ValueError:  # a name that is bound after the function was made
            closure[name] = _UNKNOWN
    return ChainMap(closure, function.__globals__, vars(builtins))


def _imported(level: int, name: str, members: object, package: str | None) -> Any:
    """What an import inside a function gives."""
    try:
        module = importlib.import_module(importlib.util.resolve_name("." * level + name, package))
    except ImportError:  # the run will say so
        return _UNKNOWN
    return module if members else importlib.import_module(name.partition(".")[0])


def _function(value: Any) -> FunctionType | None:
    """The Python function behind a value, such as a partial or a static method; or nothing."""
    while not isinstance(value, FunctionType):
        inner = (
            value.func
            if isinstance(value, functools.partial | functools.cached_property)
            else value.fget
            if isinstance(value, property)
            else inspect.getattr_static(value, "__wrapped__", None)
        )
        if inner is None:
            return None
        value = inner
    unwrapped = inspect.unwrap(value)
    return unwrapped if isinstance(unwrapped, FunctionType) else None


def _is_own(function: FunctionType, root: str) -> bool:
    """Whether a function is the project's: of the same top-level package, but not of this core."""
    module = function.__module__ or ""
    return module.partition(".")[0] == root and not module.startswith(f"{__package__}.")
