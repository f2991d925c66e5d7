"""The package imports one way only, and offers what it says."""

import ast
import importlib
from pathlib import Path

import sk_dml
from sk_dml import embedders, losses, utils

ROOT = Path(sk_dml.__file__).parent

# What each part may import, besides itself. Nobody imports the command line.
_TENSORS = {"_utils", "_functional"}
_SEARCH = {"_utils", "neighbors", "metrics", "scorers"}
_INPUTS = {*_TENSORS, "_inputs", "_supervision"}
_TRAINING = {*_INPUTS, *_SEARCH, "_networks", "_training"}
ALLOWED = {
    "_utils": set(),
    "_functional": {"_utils"},
    "neighbors": {"_utils"},
    "metrics": {"_utils", "neighbors"},
    "scorers": {"_utils", "metrics"},
    "model_selection": {"_utils"},
    "_inputs": _TENSORS,
    "_supervision": _TENSORS,
    "_networks": _INPUTS,
    "_training": {*_INPUTS, *_SEARCH, "_networks"},
    "embedders": _TRAINING,
    "losses": {"embedders"},
    "utils": {"_utils", "embedders"},
    "datasets": {"_utils", "_inputs"},
    "inspection": {"_utils", "_inputs", "neighbors", "metrics"},
}
ALLOWED["reality_check"] = {*ALLOWED}
ALLOWED["_demo"] = {"", *ALLOWED}
ALLOWED["__main__"] = {"", *ALLOWED}
ALLOWED[""] = {*ALLOWED} - {"", "_demo", "__main__", "reality_check"}


def modules():
    """Return the path of every module, by its name."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(path, known):
    """Return the modules of the package that a file imports, and the line of each."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and "import_module" in ast.unparse(node.func):
            names = [
                text.value
                for text in ast.walk(node)
                if isinstance(text, ast.Constant) and isinstance(text.value, str)
            ]
        for name in names:
            module = name if name in known else name.rpartition(".")[0]
            if module in known:
                found.append((module, node.lineno))
    return found


def part_of(module):
    names = module.split(".")
    return names[1] if len(names) > 1 else ""


def test_imports_run_one_way():
    known = modules()
    wrong = [
        f"{path.relative_to(ROOT.parent)}:{line} imports {imported}"
        for module, path in known.items()
        for imported, line in imports_of(path, known)
        if part_of(imported) not in {part_of(module), *ALLOWED[part_of(module)]}
    ]
    assert not wrong, "\n".join(wrong)


def test_no_module_imports_itself_through_others():
    known = modules()
    # A package's __init__ imports what is in it, and its files not the __init__.
    graph = {
        module: {i for i, _ in imports_of(path, known) if i != module}
        for module, path in known.items()
    }
    while leaves := {module for module, imported in graph.items() if not imported}:
        graph = {
            module: imported - leaves
            for module, imported in graph.items()
            if module not in leaves
        }
    assert not graph, f"imported in a circle, or by one: {sorted(graph)}"


def test_public_names_exist():
    for name in (
        *("sk_dml", "sk_dml.datasets", "sk_dml.embedders", "sk_dml.inspection"),
        *("sk_dml.losses", "sk_dml.metrics", "sk_dml.model_selection"),
        *("sk_dml.neighbors", "sk_dml.reality_check", "sk_dml.scorers"),
        "sk_dml.utils",
    ):
        module = importlib.import_module(name)
        assert module.__doc__
        assert len(set(module.__all__)) == len(module.__all__)
        for public in module.__all__:
            assert hasattr(module, public), f"{name}.{public}"


def test_every_method_is_exported():
    names = [name for name, _ in utils.all_embedders()]
    methods = [name.removesuffix("Embedder") for name in names]
    files = {
        cls.__module__.rpartition(".")[2]
        for cls in (getattr(embedders, name) for name in names)
    }
    shared = {"_base", "_loss", "_pair", "_proxy", "_shared_docs"}
    stems = {path.stem for path in (ROOT / "embedders").glob("_*.py")}
    assert stems - shared - {"__init__"} == files
    assert [f"{m}Loss" for m in methods] == sorted(
        name for name in losses.__all__ if name.endswith("Loss")
    )
    assert set(names) <= set(sk_dml.__all__)
