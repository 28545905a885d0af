"""The feature flow in Dagster: one asset per step, one op that runs any selection of them."""
