"""A few rows of predictions, for people."""

from collections.abc import Iterable
from typing import Any

from ff_assets.core.flow import Flow
from ff_assets.core.instance import Variant
from ff_assets.core.sensitivity import Carrier, column_of, sensitivity_of
from ff_assets.engine.parts import PROBABILITY
from ff_assets.engine.predict import Predicted
from ff_assets.engine.scoring import Scoring

_ROWS = 5
_WIDTH = 60  # characters of a value


def preview(predicted: Predicted, variants: Iterable[Variant], flow: Flow) -> str:
    """The first rows as a Markdown table, without columns that are tagged as sensitive.

    Args:
        variants: that have predicted them.
    """
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = []
    for file in sorted(predicted.path.glob("*.parquet")):
        with pq.ParquetFile(file) as opened:
            for batch in opened.iter_batches(_ROWS):
                rows += batch.to_pylist()
                break
        if len(rows) >= _ROWS:
            break
    hidden = {name for variant in variants for name in _sensitive(variant, flow)}
    names = [name for name in predicted.record.columns if name not in hidden]
    lines = [names, ["---"] * len(names)]
    lines += [[_cell(row[name]) for name in names] for row in rows[:_ROWS]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def sensitive_columns(scoring: Scoring, flow: Flow) -> set[str]:
    """The columns that a model reads or makes that carry any sensitivity tag."""
    tags = sensitivity_of(flow)
    read = {name for name in scoring.inputs if tags.of(Carrier(scoring.given[name], name))}
    return read | _sensitive(scoring.variant, flow)


def _cell(value: Any) -> str:
    if isinstance(value, dict) and "values" in value:  # a vector of Spark's
        value = value["values"]
    if isinstance(value, list):
        value = ", ".join(f"{v:.4f}" if isinstance(v, float) else str(v) for v in value)
    text = "" if value is None else str(value).replace("|", "\\|").replace("\n", " ")
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"


def _sensitive(variant: Variant, flow: Flow) -> set[str]:
    """The columns that carry any sensitivity tag."""
    tags, target = sensitivity_of(flow), variant.target
    columns = {name: column_of(variant.entity, name) for name in variant.entity.columns}
    columns |= {n: Carrier(variant.features[n], n) for n in (*target.keep, *target.outputs)}
    columns[PROBABILITY] = columns[target.outputs[0]]
    return {name for name, carrier in columns.items() if tags.of(carrier)}
