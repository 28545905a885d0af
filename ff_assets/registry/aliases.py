"""What is behind the aliases of all targets at once, for whoever looks often."""

from collections.abc import Collection
from functools import partial

from ff_assets.core.names import ALIASES
from ff_assets.registry.runs import MlflowRuns
from ff_assets.registry.versions import pages

_PAGE = 1000  # the most that MLflow gives at once


def behind_all(runs: MlflowRuns, targets: Collection[str]) -> dict[str, dict[str, str | None]]:
    """Target -> alias -> what identifies the version behind it, `None` if there is none.

    MLflow lists models with their aliases, so this takes one request for each 1,000 models of the
    registry, however many targets there are. A number is of one version only as long as the model
    exists, so the time when the model was made belongs to it: it tells the version from that of
    the same number in another registry.

    Raises:
        MlflowUnavailable: MLflow does not answer.
    """
    with runs.asking() as client:
        found = pages(partial(client.search_registered_models, max_results=_PAGE), None)
    models = {model.name: model for model in found if model.name in targets}
    behind: dict[str, dict[str, str | None]] = {t: dict.fromkeys(ALIASES) for t in targets}
    for name, model in models.items():
        for alias in behind[name].keys() & model.aliases.keys():
            behind[name][alias] = f"{model.aliases[alias]} {model.creation_timestamp}"
    return behind
