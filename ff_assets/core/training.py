"""What estimators learn from: features that have seen the labels of the rows they are trained on.

Such a feature looks better on the rows of train than on new ones, so its reader trusts it too
much. The metric on test is true all the same (Wolpert, Neural Networks 5, 1992).
"""

from collections.abc import Iterator, Mapping

from ff_assets.core import leak_refusals
from ff_assets.core.accounts import Accounts, outcomes
from ff_assets.core.instance import Instance
from ff_assets.core.leak_refusals import Finding
from ff_assets.core.leakage import Provenance


def training_edges(accounts: Accounts, reader: Instance) -> Iterator[Finding]:
    """The features that an estimator must not be trained on as they are, one finding for each.

    What it takes for the outcome is left out: that is to tell of the label.
    """
    regions: dict[int, int] = {}  # context -> the rows that fits read in it
    for fit in reader.fits:
        regions[fit.context] = regions.get(fit.context, 0) | fit.region
    truth = outcomes(reader)
    weights = [parent for name, parent in reader.fit_inputs.items() if name not in truth]
    for parent in dict.fromkeys([*reader.inputs.values(), *weights]):
        for context, region in regions.items() if parent.contexts else [_together(regions)]:
            if finding := _seen(accounts, reader, parent, context, region):
                yield finding
                break  # one is enough to say of them


def _together(regions: Mapping[int, int]) -> tuple[int, int]:
    region = 0
    for each in regions.values():
        region |= each
    return 0, region


def _seen(
    accounts: Accounts, reader: Instance, parent: Instance, context: int, region: int
) -> Finding | None:
    """What a feature tells, in a context, of the labels of some rows that an estimator reads."""
    space = reader.split.space(reader.entity)
    account = accounts.at(parent, context)
    seen = account.memorised & region
    direct = bool(seen)
    for rows, provenance in () if direct else account.pieces:
        if not provenance.labels.everything:
            seen |= provenance.labels.within(space, rows & region)
    if not seen:
        return None

    one = seen & -seen  # of any one bucket alone, folds are told from what has read it

    def has_seen(provenance: Provenance) -> int:
        return provenance.labels.within(space, one)

    path = accounts.trace(parent, one, has_seen, context=context, trained=not direct)
    finding = leak_refusals.oof_required if direct else leak_refusals.depth_taint
    return finding(reader, (*path, reader), seen)


def in_sample(accounts: Accounts, instance: Instance, feature: str, rows: int) -> Iterator[Finding]:
    """Whether values on some rows come from a fit that has read the labels of these very rows."""
    seen = accounts[instance].memorised & rows
    if seen:
        space, one = instance.split.space(instance.entity), seen & -seen

        def has_seen(provenance: Provenance) -> int:
            return provenance.labels.within(space, one)

        path = accounts.trace(instance, one, has_seen, trained=False)
        yield leak_refusals.in_sample(path, feature, seen)
