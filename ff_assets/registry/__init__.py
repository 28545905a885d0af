"""What a run leaves in MLflow: its runs, its models, and their versions in the model registry.

The modules speak plain values and pyspark models only, and import MLflow where they use it, so that
a run that is asked for no registration never loads it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from ff_assets.core.errors import FeatureFlowError


class RegistryError(FeatureFlowError):
    """Something was to be read from or written to MLflow, and was not."""


class MlflowUnavailable(RegistryError):
    """MLflow's server or store cannot be used at all."""


class PublishError(RegistryError):
    """A variant was not published: MLflow refused it, or it would not load elsewhere."""


@contextmanager
def told(what: str, fix: str) -> Iterator[None]:
    """Say what it means here that MLflow does not answer.

    Args:
        what: what is done and what is not, as a sentence.
        fix: what to do about it.
    """
    try:
        yield
    except MlflowUnavailable as error:
        raise MlflowUnavailable(what, why=error.why or error.what, fix=fix) from error
