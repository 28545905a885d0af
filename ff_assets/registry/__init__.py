"""What a run leaves in MLflow: its runs, its models, and their versions in the model registry.

The modules speak plain values and pyspark models only, and import MLflow where they use it, so that
a run that is asked for no registration never loads it.
"""

from ff_assets.core.errors import FeatureFlowError


class RegistryError(FeatureFlowError):
    """Something was to be read from or written to MLflow, and was not."""


class MlflowUnavailable(RegistryError):
    """MLflow's server or store cannot be used at all."""


class PublishError(RegistryError):
    """A variant was not published: MLflow refused it, or it would not load elsewhere."""
