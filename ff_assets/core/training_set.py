"""Whether what is read outside of a run may be trained on, by the judge of all metrics."""

from dataclasses import replace

from ff_assets.core.buckets import ALL
from ff_assets.core.cells import TEST
from ff_assets.core.errors import DefinitionError, LeakError
from ff_assets.core.honesty import check
from ff_assets.core.influence import accounts_of
from ff_assets.core.leak_refusals import DOUBTS, Finding, Judged
from ff_assets.core.leaks import Leaks, Learned, Read
from ff_assets.core.reading import Reading, chosen, flow_with, listed
from ff_assets.core.requested import part_of
from ff_assets.core.target import Target
from ff_assets.core.training import in_sample


def judge(reading: Reading) -> list[Finding]:
    """Hold a reading to what a model on it would be held to, fitted on train, measured on test.

    It is as strict as a project can be: features that have seen their rows' own labels are
    refused, because nobody knows what is done with the rows. To cross-validate on them, as one
    does in notebooks, would give a metric that is not true.

    Without a target, it is held to what every target about the same rows demands.

    Returns:
        What is doubtful, but not refused.

    Raises:
        LeakError: the features are no training set; the reason is the first that was found.
        DefinitionError: no target with a label is about these rows.
    """
    strict = replace(reading.project.policy, strict=True)
    project = replace(reading.project, policy=strict)
    doubts: list[Finding] = []
    for target in _judges(reading):
        inputs = [name for name in reading.features if name != target.label]
        if not inputs:
            continue
        providers = {i.provider.name for i in reading.variant.instances}
        asked = replace(
            reading.variant.target,
            label=target.label,
            task=target.task,
            entity=target.entity,
            choose=chosen(project, providers),
        )
        flow = flow_with(project, asked, inputs, target.label, reading.location)
        alone = replace(flow, project=replace(flow.project, targets=(asked,)))
        for verdict in check(alone):
            for finding in verdict.refusals:
                raise _refused(reading, target, finding)
            doubts += [each for each in verdict.warnings if each not in doubts]
    return doubts


def judge_alone(reading: Reading, cell: str | None) -> list[Finding]:
    """See whether anything may be fitted on, or compared with, the values of one feature.

    No label is known that a model would learn, so this is about what the values come from: a fit
    that has read the labels of the very rows, or rows of test. What the feature is made from is
    not looked at. A label may be read.

    Args:
        cell: whose rows are read; all if it is left out.

    Returns:
        What is doubtful, but not refused.

    Raises:
        LeakError: there is such a fit.
    """
    ((instance, name),) = reading.columns
    rows = ALL if cell is None else reading.split.bits(cell)
    leaks = Leaks(accounts_of(reading.flow), reading.project.policy)
    test = part_of(reading.variant, TEST)
    learned = Learned((Read(instance, rows & instance.available),))
    found = list(in_sample(leaks.accounts, instance, name, rows))
    found += leaks.of(Judged(reading.variant, name), learned, test)
    for finding in found:
        if finding.code not in DOUBTS:
            raise LeakError(
                f"`{name}` of {cell or 'all rows'} is for looking only: {finding.text}",
                code=finding.code,
                where=[*finding.places, (f"read {name}", reading.location)],
                why=finding.why,
                fix=f"{finding.fix}\nTo look at it and train nothing: training=False.",
            )
    return found


def _judges(reading: Reading) -> list[Target]:
    """The targets whose labels a model on these features might learn."""
    if reading.named is not None:
        targets = [reading.named]
    else:
        about = [
            v.target
            for v in reading.flow.variants
            if v.entity == reading.entity and v.target is not reading.variant.target
        ]
        targets = list(dict.fromkeys(about))
    measured = [target for target in targets if target.label is not None]
    if not measured:
        using = [set(reading.targets_with(instance)) for instance, _ in reading.columns]
        known = [t.name for t in reading.project.targets if t.label is not None]
        known = [name for name in known if name in set.intersection(*using)] or known
        raise DefinitionError(
            f"nothing tells what {listed(reading.features)} are to be trained for.",
            where=[(f"read {', '.join(reading.features)}", reading.location)],
            why=f"target `{reading.named.name}` has no label."
            if reading.named
            else f"no target with a label is about `{reading.entity.name}`.",
            fix=f"name a target with a label ({', '.join(known) or 'there is none'}), or read "
            "them with training=False to look at them.",
        )
    return measured


def _refused(reading: Reading, target: Target, finding: Finding) -> LeakError:
    return LeakError(
        f"{listed(reading.features)} cannot be a training set for `{target.name}`: {finding.text}",
        code=finding.code,
        where=[*finding.places, (f"read {', '.join(reading.features)}", reading.location)],
        why=finding.why,
        fix=f"{finding.fix}\nTo look at them and train nothing: training=False.",
    )
