"""`ff`, the command line: the same flow, instance and store as Dagster's UI, without a browser."""

from ff_assets.cli.app import main

__all__ = ["main"]
