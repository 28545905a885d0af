"""Promotion and rollback in the UI: two jobs, whatever the number of targets.

In the launchpad the form is filled in but for the reason, without which nothing is moved. An editor
completes targets and aliases there, and tells of each field what it is.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dagster as dg

from ff_assets.assets.promoting import promote_target
from ff_assets.assets.resources import MlflowResource, StoreResource
from ff_assets.core.errors import FeatureFlowError
from ff_assets.core.fingerprint import digest
from ff_assets.core.flow import Flow
from ff_assets.core.names import ALIASES
from ff_assets.registry.gates import Gate
from ff_assets.registry.promotion import GateFailed, Moved, promote, rollback

PROMOTE = promote.__name__
ROLLBACK = rollback.__name__

_ALIAS = dg.Enum("Alias", [dg.EnumValue(alias) for alias in ALIASES])
_REASON = dg.Field(
    str,
    default_value="",
    description="Why, for whoever reads the ledger in a year. Nothing is moved without a reason.",
)
_WHO = dg.Field(
    str,
    default_value="",
    description="Your name, for the ledger. Dagster does not know who launches a run; if this is "
    "left empty, the ledger names the user that Dagster's process runs as.",
)


def promotion_jobs(flow: Flow) -> list[dg.JobDefinition]:
    """The jobs `promote` and `rollback` for all targets of a flow; none if it has no target."""
    names = [target.name for target in flow.project.targets]
    if not names:
        return []
    # Dagster takes types of the same name for the same type, also those of another project.
    targets = dg.Enum(f"Target_{digest(names)[:8]}", [dg.EnumValue(name) for name in names])
    return [_promote_job(flow, targets, names[0]), _rollback_job(targets, names[0])]


def _promote_job(flow: Flow, targets: dg.Enum, first: str) -> dg.JobDefinition:
    @dg.op(
        name="move_alias",
        config_schema={
            "target": dg.Field(targets, description="Whose model is promoted."),
            "to": dg.Field(_ALIAS, default_value="staging", description="The alias that is moved."),
            "variant": dg.Field(
                str,
                default_value="",
                description="Its newest version is promoted, such as that of `sentiment[tfidf]`; "
                "if left empty, the champion's or that of the only one. Name this or a version.",
            ),
            "version": dg.Field(
                int, default_value=0, description="The number of a version; 0 for the newest."
            ),
            "reason": _REASON,
            "override": dg.Field(
                str,
                default_value="",
                description="Why it is right although a gate failed. Is recorded.",
            ),
            "who": _WHO,
        },
    )
    def move_alias(
        context: dg.OpExecutionContext, mlflow: MlflowResource, store: StoreResource
    ) -> None:
        given: Mapping[str, Any] = context.op_config
        try:
            moved = promote_target(
                flow,
                mlflow.runs(),
                store.open(),
                given["target"],
                given["to"],
                given["reason"],
                variant=given["variant"] or None,
                version=given["version"] or None,
                override=given["override"],
                who=given["who"].strip() or None,
            )
        except FeatureFlowError as error:
            raise _failure(context, error) from error
        _tell(context, moved)

    blank = {"variant": "", "version": 0, "reason": "", "override": "", "who": ""}

    @dg.job(
        name=PROMOTE,
        description="Let a registered version serve as staging or production, if it passes its "
        "gates, as `ff promote` does. Fill in the form in the launchpad.",
        config=_form(move_alias, {"target": first, "to": "staging", **blank}),
    )
    def job() -> None:
        move_alias()

    return job


def _rollback_job(targets: dg.Enum, first: str) -> dg.JobDefinition:
    @dg.op(
        name="move_alias_back",
        config_schema={
            "target": dg.Field(targets, description="Whose alias is moved back."),
            "alias": dg.Field(
                _ALIAS, default_value="production", description="The alias that is moved."
            ),
            "reason": _REASON,
            "who": _WHO,
        },
    )
    def move_alias_back(context: dg.OpExecutionContext, mlflow: MlflowResource) -> None:
        given: Mapping[str, Any] = context.op_config
        who = given["who"].strip() or None
        try:
            moved = rollback(
                mlflow.runs(), given["target"], given["alias"], why=given["reason"], who=who
            )
        except FeatureFlowError as error:
            raise _failure(context, error) from error
        _tell(context, moved)

    @dg.job(
        name=ROLLBACK,
        description="Let the version serve again that did before, as `ff rollback` does. Once "
        "more: one step further. Fill in the form in the launchpad.",
        config=_form(
            move_alias_back, {"target": first, "alias": "production", "reason": "", "who": ""}
        ),
    )
    def job() -> None:
        move_alias_back()

    return job


def _form(op: dg.OpDefinition, fields: Mapping[str, Any]) -> dict[str, Any]:
    """What the launchpad shows at first."""
    return {"ops": {op.name: {"config": dict(fields)}}}


def _tell(context: dg.OpExecutionContext, moved: Moved) -> None:
    entry, number = moved.logged.entry, moved.logged.number
    for sentence in moved.notes:
        context.log.warning(sentence)
    _log(context, entry.gates)
    if entry.override:
        context.log.warning(f"overridden: {entry.override}")
    context.log.info(
        f"{entry.alias} of {moved.target}: {entry.before or 'none'} → {entry.after} "
        f"({entry.variant}), by {entry.who}, entry {number} of the ledger"
    )
    context.add_output_metadata(
        {
            "target": moved.target,
            "alias": entry.alias,
            "from": entry.before or "none",
            "to": entry.after,
            "variant": entry.variant,
            "who": entry.who,
            "why": entry.why,
            "gates": dg.MetadataValue.md(_table(entry.gates)),
            "ledger_entry": number,
        }
    )


def _failure(context: dg.OpExecutionContext, error: FeatureFlowError) -> dg.Failure:
    gates: Sequence[Gate] = error.gates if isinstance(error, GateFailed) else ()
    _log(context, gates)
    return dg.Failure(
        str(error),
        metadata={
            **({"gates": dg.MetadataValue.md(_table(gates))} if gates else {}),
            "errors": dg.MetadataValue.json([error.as_dict()]),
        },
        allow_retries=False,
    )


def _log(context: dg.OpExecutionContext, gates: Iterable[Gate]) -> None:
    for gate in gates:
        log = context.log.error if gate.failed else context.log.info
        log(f"{gate.name}: {gate.outcome}; {gate.detail}")


def _table(gates: Iterable[Gate]) -> str:
    """Gates as a Markdown table."""
    rows = (f"| {g.name} | {g.outcome} | {g.detail.replace('|', chr(92) + '|')} |" for g in gates)
    return "\n".join(["| gate | | |", "|---|---|---|", *rows])
