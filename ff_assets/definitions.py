"""What Dagster loads: the flow of all modules in `ff_assets/flows/`, as assets and jobs."""

from ff_assets.assets.build import build_definitions
from ff_assets.core.project import Project
from ff_assets.settings import Settings

defs = build_definitions(Project.from_package("ff_assets.flows"), Settings.load())
