"""Public docstrings read whole and follow numpydoc."""

import importlib
import inspect

import pytest
from numpydoc.validate import validate
from sklearn.base import BaseEstimator

from sk_dml.scorers import RetrievalScorer
from sk_dml.utils import all_embedders

PUBLIC = [
    f"sk_dml.{module}.{name}"
    for module in (
        "reality_check",
        "datasets",
        "inspection",
        "losses",
        "metrics",
        "model_selection",
        "neighbors",
        "scorers",
        "utils",
    )
    for name, what in vars(importlib.import_module(f"sk_dml.{module}")).items()
    if name in importlib.import_module(f"sk_dml.{module}").__all__
    if not isinstance(what, RetrievalScorer)
] + ["sk_dml.show_versions"]
PUBLIC += [f"sk_dml.embedders.{name}" for name, _ in all_embedders()]
METHODS = {
    f"{name}.{method}"
    for name in PUBLIC
    if inspect.isclass(
        cls := getattr(
            importlib.import_module(name.rpartition(".")[0]), name.rpartition(".")[2]
        )
    )
    for method, function in inspect.getmembers(cls, inspect.isfunction)
    if function.__module__.startswith("sk_dml") and not method.startswith("_")
}
IGNORED = {
    "ES01",  # no extended summary: many need none
    "EX01",  # no example: classes and functions have theirs, methods need none
    "GL01",  # the summary starts on the first line
    "RT02",  # "self : object", as in scikit-learn
    "RT03",  # a return type may say it all
    "SA01",  # no see also
    "SA04",
    "YD01",
}


@pytest.mark.parametrize("name", [*PUBLIC, *sorted(METHODS)])
def test_numpydoc(name):
    errors = [
        f"{code} {text}"
        for code, text in validate(name)["errors"]
        if code not in IGNORED
    ]
    assert not errors


@pytest.mark.parametrize(
    "name", [name for name in PUBLIC if name.endswith(("Embedder", "Loss"))]
)
def test_methods_cite_and_show(name):
    sections = validate(name)["docstring"]
    for section in ("References", "Examples", "Parameters"):
        assert f"{section}\n---" in sections


@pytest.mark.parametrize(
    "name", [name for name in PUBLIC if name.startswith("sk_dml.embedders.")]
)
def test_documented_defaults_are_the_real_ones(name):
    module, _, cls = name.rpartition(".")
    cls = getattr(importlib.import_module(module), cls)
    assert issubclass(cls, BaseEstimator)
    for parameter, value in cls().get_params().items():
        line = next(
            line
            for line in cls.__doc__.splitlines()
            if line.startswith(f"{parameter} :")
        )
        documented = line.partition("default=")[2].replace('"', "'")
        assert documented == repr(value)
