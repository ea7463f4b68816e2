"""Which Evergreen this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def release() -> str:
    """Return the version of Evergreen, ``0`` where it is not installed as a package."""
    try:
        return version("evergreen")
    except PackageNotFoundError:
        return "0"
