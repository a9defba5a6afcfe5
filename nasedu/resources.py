"""Data that travels with the package: cost tables, and tables of networks that were all trained."""

from importlib.resources import files
from pathlib import Path


def folder(name: str) -> Path:
    """The folder `lookup` or `datasets`: inside the installed package, beside it in a checkout."""
    package = Path(str(files("nasedu")))
    inside = package / name
    return inside if inside.is_dir() else package.parent / name
