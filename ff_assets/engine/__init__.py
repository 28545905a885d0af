"""Running a flow on Spark: what has to be computed, in which frames, and where results are kept."""
