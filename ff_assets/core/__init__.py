"""The feature flow in pure Python: declarations, inference, split and fingerprints.

Nothing here imports Dagster, Spark or MLflow, so a whole project is checked in milliseconds.
"""
