"""The metadata agrees with what repeats it."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

from sk_dml._utils._show_versions import PACKAGES

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def required(*extras):
    """Return the version ranges of the package and some extras by requirement."""
    lists = [PROJECT["optional-dependencies"][extra] for extra in extras]
    texts = sum(lists, PROJECT["dependencies"])
    parsed = [Requirement(text) for text in texts if not text.startswith("sk-dml[")]
    return {requirement.name: str(requirement.specifier) for requirement in parsed}


def test_minimum_versions_are_those_that_are_tested():
    lines = (ROOT / ".github" / "minimum-requirements.txt").read_text().splitlines()
    minimum = dict(line.split("==") for line in lines if not line.startswith("#"))
    expected = required("plots", "vision", "reality-check", "docs", "test")
    assert {name: f">={version}" for name, version in minimum.items()} == expected


def test_versions_of_all_dependencies_are_shown():
    assert {*required("plots", "vision", "reality-check")} <= {*PACKAGES}
