"""What Dagster records of a finished step: metadata that a person reads, and data versions."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from ff_assets.assets.pictures import calibration_picture, picture
from ff_assets.assets.registration import flat_metrics
from ff_assets.assets.specs import asset_key
from ff_assets.core.conclusion import Verdict
from ff_assets.core.steps import Kind, Step
from ff_assets.engine.execute import Finished
from ff_assets.engine.store import Store


def materialization(
    context: dg.AssetExecutionContext, finished: Finished, store: Store, tags: Mapping[str, str]
) -> dg.MaterializeResult[None]:
    """The result of one step, with metadata of each cell for its own partition.

    Args:
        tags: of the materialization.
    """
    step, key = finished.step, asset_key(finished.step)
    first = next(iter(finished.records.values()))
    metadata = {} if step.has_cells else record_metadata(step, "", finished, store)
    if step.has_cells:
        for cell in finished.records:
            context.add_asset_metadata(
                record_metadata(step, cell, finished, store), asset_key=key, partition_key=cell
            )
    return dg.MaterializeResult(
        asset_key=key,
        metadata=metadata,
        data_version=dg.DataVersion(first.fingerprint),
        tags=tags,
    )


def record_metadata(
    step: Step, cell: str, finished: Finished, store: Store
) -> dict[str, dg.MetadataValue]:
    """What is shown of one record."""
    record = finished.records[cell]
    shown: dict[str, dg.MetadataValue] = {
        "reused": dg.MetadataValue.bool(cell in finished.reused),
        "seconds": dg.MetadataValue.float(round(record.seconds, 3)),
        "fingerprint": dg.MetadataValue.text(record.fingerprint),
        "made_at": dg.MetadataValue.timestamp(record.made_at),
    }
    if record.columns:
        shown["dagster/column_schema"] = dg.MetadataValue.table_schema(
            dg.TableSchema([dg.TableColumn(name, kind) for name, kind in record.columns.items()])
        )
    if record.rows is not None:
        shown["dagster/row_count"] = dg.MetadataValue.int(record.rows)
    if record.size is not None:
        shown["dagster/size_bytes"] = dg.MetadataValue.int(record.size)
    if step.kind is Kind.MODEL:
        shown["path"] = dg.MetadataValue.path(str(store.model_path(record.fingerprint)))
        shown["model_class"] = dg.MetadataValue.text(record.details["class"])
    if step.has_cells and record.size is not None:
        path = store.table_path(record.fingerprint) / f"cell={cell}"
        shown["path"] = dg.MetadataValue.path(str(path))
    for label, count in record.details.get("labelled", {}).items():
        shown[f"rows_with_{label}"] = dg.MetadataValue.int(count)
    if step.kind is Kind.EVALUATION:
        cells = record.details["cells"]
        shown = honesty_metadata(record.details) | shown
        shown["metrics"] = dg.MetadataValue.md(metrics_table(cells))
        for name, value in flat_metrics(cells).items():
            shown[name] = dg.MetadataValue.float(value)
        for name, result in cells.items():
            shown[f"rows_{name}"] = dg.MetadataValue.int(result["rows"])
            shown[f"unlabelled_{name}"] = dg.MetadataValue.int(result["unlabelled"])
        shown |= seen_metadata(cells["test"])
    if step.kind is Kind.LEADERBOARD:
        shown = leaderboard_metadata(record.details) | shown
    if step.kind is Kind.HYPOTHESES:
        shown = hypotheses_metadata(record.details) | shown
    if step.kind is Kind.REGISTRATION:
        shown["registered_model"] = dg.MetadataValue.text(record.details["model_uri"])
        shown["version"] = dg.MetadataValue.int(record.details["version"])
        shown["mlflow_run_id"] = dg.MetadataValue.text(record.details["run_id"])
    return shown


def honesty_metadata(details: Mapping[str, Any]) -> dict[str, dg.MetadataValue]:
    """What is shown of an evaluation's certificates, the sentence first."""
    shown: dict[str, dg.MetadataValue] = {}
    for number, (part, certificate) in enumerate(details["certificates"].items()):
        of = f"_{part}" if number else ""
        shown |= {
            f"honest{of}": dg.MetadataValue.text(certificate["sentence"]),
            f"grade{of}": dg.MetadataValue.text(certificate["grade"]),
            f"certificate{of}": dg.MetadataValue.json(certificate),
            f"certificate_digest{of}": dg.MetadataValue.text(certificate["digest"]),
            f"provenance{of}": dg.MetadataValue.md(provenance_table(certificate)),
        }
    shown["test_reads"] = dg.MetadataValue.int(details["wear"]["reads"])
    shown["test_reads_by_variants"] = dg.MetadataValue.int(details["wear"]["variants"])
    return shown


def seen_metadata(test: Mapping[str, Any]) -> dict[str, dg.MetadataValue]:
    """What is shown of test beside its metrics: calibration and slices, where it has them."""
    shown: dict[str, dg.MetadataValue] = {}
    calibration = test.get("calibration", {})
    if "bins" in calibration:
        shown["calibration"] = dg.MetadataValue.md(calibration_table(calibration))
        shown["calibration_picture"] = dg.MetadataValue.md(calibration_picture(calibration))
    elif calibration:
        shown["bias"] = dg.MetadataValue.text(_estimate(calibration["bias"]))
    if test.get("slices"):
        shown["slices"] = dg.MetadataValue.md(slices_table(test["slices"]))
    return shown


def calibration_table(calibration: Mapping[str, Any]) -> str:
    """Bins of like probability as a Markdown table, and what they come to."""
    head = [f"probability of {calibration['of']}", "came true", "95% interval", "rows"]
    lines = [head, ["---"] * len(head)]
    for each in calibration["bins"]:
        share = f"{each['observed']:.4f}"
        lines.append([f"{each['predicted']:.4f}", share, _interval(each), f"{each['rows']:,}"])
    lines.append(["**mean distance**", f"{calibration['error']:.4f}", "", ""])
    for name in ("slope", "intercept"):
        if (found := calibration[name]) is not None:
            lines.append([f"**{name}**", f"{found['value']:.4f}", _interval(found), ""])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def slices_table(slices: Sequence[Mapping[str, Any]]) -> str:
    """The metric of each slice as a Markdown table; a slice without one says why."""
    metric = next((each["metric"] for each in slices if each["metric"]), "metric")
    head = ["slice", "", "rows", "groups", f"{metric} on test", "95% interval"]
    lines = [head, ["---"] * len(head)]
    for each in slices:
        value = " ".join(each["value"].replace("|", "\\|").split())
        named = [f"`{each['feature']}`", value, f"{each['rows']:,}", f"{each['groups']:,}"]
        found = each["estimate"]
        told = (
            ["none", each["why"]] if found is None else [f"{found['value']:.4f}", _interval(found)]
        )
        lines.append([*named, *told])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def provenance_table(certificate: Mapping[str, Any]) -> str:
    """What each stage behind a prediction was fitted on, as a Markdown table."""
    lines = [
        "| stage | fitted on | has read features of | has read labels of | evaluated rows |",
        "|---|---|---|---|---|",
    ]
    for stage in certificate["chain"]:
        fits = "; ".join(f"{fit['name']}: {fit['rows']}" for fit in stage["fits"])
        cells = [stage["name"], fits, stage["features"], stage["labels"], stage["verdict"]]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def leaderboard_metadata(details: Mapping[str, Any]) -> dict[str, dg.MetadataValue]:
    """What is shown of a comparison of variants, the sentence first."""
    champion = details["champion"]
    return {
        "in_words": dg.MetadataValue.text(details["sentence"]),
        "leaderboard": dg.MetadataValue.md(leaderboard_table(details)),
        "picture": dg.MetadataValue.md(picture(details)),
        **({} if champion is None else {"champion": dg.MetadataValue.text(champion["variant"])}),
        "comparison": dg.MetadataValue.json(details),
    }


def hypotheses_metadata(details: Mapping[str, Any]) -> dict[str, dg.MetadataValue]:
    """What is shown of the verdicts on a target's hypotheses, the sentences first."""
    every = details["hypotheses"]
    sentences = [each["judgement"]["sentence"] for each in every]
    counts = Counter(each["judgement"]["verdict"] for each in every)
    return {
        "in_words": dg.MetadataValue.md("\n\n".join(sentences)),
        "verdicts": dg.MetadataValue.md(hypotheses_table(every)),
        **{each.value: dg.MetadataValue.int(counts[each.value]) for each in Verdict},
        "hypotheses": dg.MetadataValue.json(every),
    }


def hypotheses_table(hypotheses: Sequence[Mapping[str, Any]]) -> str:
    """Verdicts as a Markdown table."""
    head = ["hypothesis", "verdict", "effect", "interval", "wanted", "stated", "by"]
    lines = [head, ["---"] * len(head)]
    for each in hypotheses:
        judgement, content = each["judgement"], each["content"]
        effect = judgement["effect"]
        lines.append(
            [
                content["statement"].replace("|", "\\|"),
                f"**{judgement['verdict']}**",
                f"{content['kpi']} {effect['value']:+.4f}",
                _interval(effect),
                f"{content['min_effect']:+g}",
                each["at"],
                each["who"],
            ]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def leaderboard_table(details: Mapping[str, Any]) -> str:
    """Variants as a Markdown table, best first."""
    interval = f"95% interval, by {details['by']}" if details["by"] else "95% interval"
    head = ["variant", f"{details['metric']} on test", interval, "to the best", interval, ""]
    lines = [head, ["---"] * len(head)]
    for row in details["variants"]:
        off = row["difference"]
        lines.append(
            [
                f"`{row['variant']}`",
                f"{row['value']:.4f}",
                _interval(row),
                f"{off['value']:+.4f}" if off else "",
                _interval(off),
                row["verdict"],
            ]
        )
    lines.append(["rows", f"{details['rows']:,}", "", "", "", ""])
    if details["by"]:
        lines.append([f"{details['by']} keys", f"{details['groups']:,}", "", "", "", ""])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def metrics_table(cells: Mapping[str, Any]) -> str:
    """Metrics as a Markdown table, short enough for Dagster to show it in place."""
    names = list(dict.fromkeys(name for cell in cells.values() for name in cell["metrics"]))
    spread = [cell for cell in ("validation", "test") if cell in cells]
    head = ["metric", *cells, *(f"95% interval on {cell}" for cell in spread)]
    lines = [head, ["---"] * len(head)]
    for name in names:
        found = [cell["metrics"].get(name) for cell in cells.values()]
        values = [f"{m['value']:.4f}" if m else "" for m in found]
        lines.append([name, *values, *(_interval(cells[c]["metrics"].get(name)) for c in spread)])
    for count in ("rows", "unlabelled"):
        counts = [f"{cell[count]:,}" for cell in cells.values()]
        lines.append([count, *counts, *("" for _ in spread)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _interval(metric: Mapping[str, Any] | None) -> str:
    if metric is None or metric["low"] is None:
        return ""
    return f"{metric['low']:.4f} to {metric['high']:.4f}"


def _estimate(found: Mapping[str, Any]) -> str:
    interval = _interval(found)
    return f"{found['value']:.4g}" + (f" ({interval})" if interval else "")


def summary(finished: Finished, total_seconds: float) -> str:
    """One log line for a finished step."""
    step = finished.step
    rows = [
        f"{cell + ' ' if cell else ''}{record.rows:,} rows"
        for cell, record in finished.records.items()
        if record.rows is not None and step.has_cells
    ]
    facts = ", ".join(rows)
    if step.kind is Kind.EVALUATION:
        details = next(iter(finished.records.values())).details
        test, certificate = details["cells"]["test"], details["certificates"].get("test")
        name, metric = next(iter(test["metrics"].items()))
        low_high = "" if metric["low"] is None else f" [{metric['low']:.3f}, {metric['high']:.3f}]"
        facts = f"{name} {metric['value']:.3f}{low_high} on {test['rows']:,} rows of test"
        facts += f", grade {certificate['grade']}" if certificate else ""
    if step.kind is Kind.LEADERBOARD:
        facts = next(iter(finished.records.values())).details["sentence"]
    if step.kind is Kind.HYPOTHESES:
        every = next(iter(finished.records.values())).details["hypotheses"]
        counts = Counter(each["judgement"]["verdict"] for each in every)
        facts = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    if step.kind is Kind.REGISTRATION:
        details = next(iter(finished.records.values())).details
        facts = str(details["model_uri"])
    how = "reused" if set(finished.records) <= finished.reused else f"{total_seconds:.1f} s"
    return f"■ {step.name}: {', '.join(part for part in (facts, how) if part)}"
