"""ff_assets: declare Spark ML stages by the features they read and provide; the flow is inferred.

What a flow module needs is here; importing it starts no JVM and imports no framework.
"""

from ff_assets.core.declare import Entity, Source, Stage, Target, feature, stage
from ff_assets.core.split import HashSplit

__all__ = ["Entity", "HashSplit", "Source", "Stage", "Target", "feature", "stage"]
