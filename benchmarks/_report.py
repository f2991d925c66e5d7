"""What every benchmark says first: when, where, with what."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version


def header(name, *peers):
    """Describe the run in a few lines of Markdown."""
    packages = ("sk-dml", "torch", "skorch", "scikit-learn", "numpy", *peers)
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    return "\n".join(
        [
            f"# {name}",
            "",
            f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, "
            f"{os.cpu_count()} cores, Python {platform.python_version()}, {versions}.",
        ]
    )
