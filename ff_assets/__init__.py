"""ff_assets: declare Spark ML stages by the features they read and provide; the flow is inferred.

What a flow module needs is here; importing it starts no JVM and imports no framework.
"""

from ff_assets.core.ab_test import ABTest
from ff_assets.core.aggregate import aggregate, aggregates
from ff_assets.core.declare import Source
from ff_assets.core.entities import Entity
from ff_assets.core.hypothesis import Hypothesis
from ff_assets.core.operations import Attested
from ff_assets.core.policy import Governance, LeakPolicy
from ff_assets.core.split import HashSplit, TimeSplit
from ff_assets.core.stage import Stage, feature, pretrained, stage
from ff_assets.core.target import Target
from ff_assets.notebook import read, read_many

__all__ = [
    "ABTest",
    "Attested",
    "Entity",
    "Governance",
    "HashSplit",
    "Hypothesis",
    "LeakPolicy",
    "Source",
    "Stage",
    "Target",
    "TimeSplit",
    "aggregate",
    "aggregates",
    "feature",
    "pretrained",
    "read",
    "read_many",
    "stage",
]
