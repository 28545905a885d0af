"""Statistics on arrays and counts: comparing variants, A/B tests that are peeked at, drift.

Nothing here knows of Spark, Dagster or MLflow. NumPy and SciPy are imported inside the functions
because definitions load these modules.
"""
