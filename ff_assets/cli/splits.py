"""Splits and fits in words, for `ff plan` and `ff why`."""

from collections.abc import Sequence

from ff_assets.core.buckets import BUCKETS, describe
from ff_assets.core.cells import TRAIN, VALIDATION
from ff_assets.core.instance import Instance, Variant
from ff_assets.core.split import CUTOFF_BUCKET, Split, TimeSplit
from ff_assets.core.why import rows


def splits_of(variants: Sequence[Variant]) -> dict[str, str]:
    """Target -> how its rows are split; all variants of a target share that."""
    return {v.target.name: _split(v.split, v.entity.root.key) for v in variants}


def _split(split: Split, key: str) -> str:
    if isinstance(split, TimeSplit):
        begin = f"from {split.start} " if split.start is not None else ""
        parts = f"train {begin}until {split.day(split.cells[TRAIN].stop - 1)}"
        if validation := split.cells.get(VALIDATION):
            first, last = split.day(validation.start), split.day(validation.stop - 1)
            parts += f", validation from {first} until {last}"
        between = f", nothing of the {_number(split.embargo_days, 'day')} between"
        if validation and split.embargo_days:
            between += " one and the next"
        return (
            f"by day: {parts}, test from {split.first_day} on"
            f"{between if split.embargo_days else ''} (bucket {CUTOFF_BUCKET} is "
            f"{split.first_day}, every bucket a day)"
        )
    cells = ", ".join(
        f"{cell} {bits.bit_count() / BUCKETS:.0%} (buckets {describe(bits)})"
        for cell, bits in ((cell, split.bits(cell)) for cell in split.cells)
    )
    return f"by the hash of `{key}`: {cells}"


def count_fits(models: Sequence[Instance]) -> str:
    """How often models are fitted: `8 models, 13 fits: propensity 6 (5 folds and ...), ...`."""
    total = sum(len(model.fits) for model in models)
    several = [
        f"{model.name} {len(model.fits)} ({_parts(model)} and all of "
        f"{' and '.join(model.stage.fitting.cells)})"
        for model in models
        if len(model.fits) > 1
    ]
    if several and len(several) < len(models):
        several.append("every other 1")
    return f"{_number(len(models), 'model')}, {_number(total, 'fit')}" + (
        f": {', '.join(several)}" if several else ""
    )


def _parts(model: Instance) -> str:
    """What fits leave out, or what they are for."""
    count = len(model.fits) - 1
    folds = model.stage.fitting.count
    if model.is_nested and count > folds:
        return f"{folds} folds, {count - folds} sets of several"
    return f"{count} {'folds' if model.stage.fitting.scheme == 'folds' else 'ordered blocks'}"


def fits_in_words(model: Instance) -> dict[str, tuple[str, str]]:
    """Fit -> the rows it reads, and those it serves; `all` serves whatever no other does.

    One that leaves out several folds makes what nested readers learn from, and no row of its own.
    """
    return {
        fit.name or "all": (
            rows(fit.region, model.split),
            rows(fit.serves, model.split) if fit.serves else "fits of nested readers",
        )
        for fit in model.fits
    }


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
