"""The package imports one way only, and offers what it says."""

import ast
import importlib
from pathlib import Path

import pytest

import sk_dml

ROOT = Path(sk_dml.__file__).parent

# What each part may import. Nobody imports the command line.
ALLOWED = {
    "utils": set(),
    "_functional": {"utils"},
    "_backbones": {"utils", "_functional"},
    "neighbors": {"utils"},
    "metrics": {"utils", "neighbors"},
    "scorers": {"metrics"},
    "model_selection": {"utils"},
    "_training": {"utils", "_functional", "metrics", "neighbors"},
}
ALLOWED["_parameters"] = {"_training"}
ALLOWED["_fitting"] = {*ALLOWED}
ALLOWED["_base"] = {*ALLOWED}
ALLOWED["_loss"] = set()
ALLOWED["_pairs"] = {"_base", "_loss", *ALLOWED["_base"]}
ALLOWED["_proxies"] = ALLOWED["_pairs"]
ALLOWED["embedders"] = {*ALLOWED}
ALLOWED["losses"] = {"_pairs", "embedders"}
ALLOWED["datasets"] = {"utils"}
ALLOWED["inspection"] = {"utils", "neighbors", "metrics"}
ALLOWED["benchmark"] = {*ALLOWED}
ALLOWED["__main__"] = {*ALLOWED, ""}
ALLOWED[""] = {*ALLOWED} - {"__main__", "benchmark"}


def part_of(module):
    names = module.split(".")
    return names[1] if len(names) > 1 else ""


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            for alias in node.names:
                found = f"{node.module}.{alias.name}"
                is_module = (ROOT.parent / found.replace(".", "/")).with_suffix(".py")
                is_package = ROOT.parent / found.replace(".", "/")
                known = is_module.exists() or is_package.is_dir()
                yield found if known else node.module


FILES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_one_way(path):
    relative = path.relative_to(ROOT)
    part = relative.parts[0].removesuffix(".py")
    part = "" if part == "__init__" else part
    assert part in ALLOWED, f"say in ALLOWED what {part} may import"
    for module in imports_of(path):
        if module.split(".")[0] == "sk_dml" and part_of(module) != part:
            assert part_of(module) in ALLOWED[part], f"{relative} imports {module}"


@pytest.mark.parametrize(
    "name",
    [
        "sk_dml",
        "sk_dml.benchmark",
        "sk_dml.datasets",
        "sk_dml.inspection",
        "sk_dml.losses",
        "sk_dml.metrics",
        "sk_dml.model_selection",
        "sk_dml.neighbors",
        "sk_dml.scorers",
        "sk_dml.utils",
    ],
)
def test_public_names_exist(name):
    module = importlib.import_module(name)
    assert module.__doc__
    assert len(set(module.__all__)) == len(module.__all__)
    for public in module.__all__:
        assert hasattr(module, public)


def test_every_loss_has_its_embedder():
    names = importlib.import_module("sk_dml.losses").__all__
    losses = [name for name in names if name.endswith("Loss")]
    embedders = [name for name, _ in sk_dml.utils.all_embedders()]
    assert [n.removesuffix("Loss") for n in sorted(losses)] == [
        n.removesuffix("Embedder") for n in embedders
    ]
    assert set(embedders) <= set(sk_dml.__all__)
