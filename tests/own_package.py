"""Packages as users write them: folders with a factory, found by the path or by EVERGREEN_CODE."""

from __future__ import annotations

import sys
from pathlib import Path

GOOD = """
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.pipeline import Pipeline

from training.fitting.preprocessing import build_pipeline


class Mine(RandomForestClassifier):
    pass


def build(schema, *, seed, depth=3):
    kind = Mine if schema.is_classification else RandomForestRegressor
    return build_pipeline(schema, kind(10, max_depth=depth, random_state=seed), scale=False, encode="ordinal")


def compiles(schema, *, seed, depth=3):
    return build_pipeline(schema, RandomForestClassifier(10, max_depth=depth, random_state=seed), scale=False, encode="ordinal")
"""


def write_package(folder: Path, name: str, body: str = GOOD) -> Path:
    """Write a package with a module `models`; return the folder it lies in."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / name / "__init__.py").write_text("")
    (folder / name / "models.py").write_text(body)
    return folder


def forget(name: str) -> None:
    """Let this process be as if it had never imported a package."""
    for module in [module for module in sys.modules if module.partition(".")[0] == name]:
        del sys.modules[module]
