"""What estimators learn from: features that have seen the labels of the rows they are trained on.

Such a feature looks better on the rows of train than on new ones, so its reader trusts it too
much. The metric on test is true all the same (Wolpert, Neural Networks 5, 1992).
"""

from collections.abc import Iterator

from ff_assets.core import leak_refusals
from ff_assets.core.instance import Instance
from ff_assets.core.leak_refusals import Finding
from ff_assets.core.leakage import Provenance
from ff_assets.core.ledger import Ledger, outcomes


def training_edges(ledger: Ledger, reader: Instance) -> Iterator[Finding]:
    """The features that an estimator must not be trained on as they are, one finding for each.

    What it takes for the outcome is left out: that is to tell of the label.
    """
    space = reader.split.space(reader.entity)
    region = 0
    for fit in reader.fits:
        region |= fit.region
    truth = outcomes(reader)
    weights = [parent for name, parent in reader.fit_inputs.items() if name not in truth]
    for parent in dict.fromkeys([*reader.inputs.values(), *weights]):
        account = ledger[parent]
        seen = account.memorised & region
        direct = bool(seen)
        for rows, provenance in () if direct else account.pieces:
            if not provenance.labels.everything:
                seen |= provenance.labels.within(space, rows & region)
        if not seen:
            continue

        one = seen & -seen  # of any one bucket alone, folds are told from what has read it

        def has_seen(provenance: Provenance, rows: int = one) -> int:
            return provenance.labels.within(space, rows)

        path = ledger.trace(parent, one, has_seen, trained=not direct)
        finding = leak_refusals.oof_required if direct else leak_refusals.depth_taint
        yield finding(reader, (*path, reader), seen)
