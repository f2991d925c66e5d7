"""The documentation agrees with the code."""

import csv
import doctest
import importlib.util
import inspect
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils._param_validation import InvalidParameterError

import sk_dml
from sk_dml import reality_check, scorers
from sk_dml.losses import NormalizedSoftmaxLoss
from sk_dml.metrics import _evaluate, _ranks, _retrieval
from sk_dml.utils import all_embedders
from tests.embedders import pair_oracles, proxy_oracles
from tests.metrics import reference

DOCS = Path(__file__).parent.parent / "docs"


def load(name, source):
    """Run Python source as a module of its own."""
    spec = importlib.util.spec_from_loader(name, loader=None)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        exec(source, vars(module))
    finally:
        del sys.modules[name]
    return module


def test_overview_of_the_methods_holds_all():
    overview = runpy.run_path(str(DOCS / "_ext" / "pages.py"))["methods"]()["index"]
    rows = re.findall(
        r"\* - :class:`~sk_dml.(\w+)`\n     - (?:19|20)\d\d\n     - .{10}", overview
    )
    assert sorted(rows) == [name for name, _ in all_embedders()]


MODULES = [getattr(sk_dml, name) for name in sk_dml.__all__]
MODULES = [sk_dml, reality_check, *filter(inspect.ismodule, MODULES)]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_reference_lists_every_public_name(module):
    page = DOCS / "api" / f"{module.__name__.removeprefix('sk_dml.')}.rst"
    listed = re.findall(r"^   (?:\w+\.)?(\w+)$", page.read_text(), re.MULTILINE)
    names = set(module.__all__) - {"__version__"}
    assert not {
        name for name in names if not inspect.ismodule(getattr(module, name))
    }.difference(listed)


@pytest.fixture
def example():
    page = (DOCS / "developers" / "adding_a_method.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    return load("my_method", blocks[0]), *blocks[1:]


def test_example_of_a_method_works(example):
    module, oracle, _ = example
    namespace = dict(vars(pair_oracles))
    exec(oracle, namespace)
    generator = torch.Generator().manual_seed(0)
    rows = torch.nn.functional.normalize(
        torch.randn(9, 3, generator=generator).double()
    )
    labels = torch.arange(9) % 3
    expected = namespace["my_method"](0.9)(rows.numpy(), labels.numpy(), {})
    assert expected > 0
    assert module.MyMethodLoss(0.9)(rows, labels).item() == pytest.approx(expected)
    same = labels[:, None] == labels
    masks = {"positives": same.fill_diagonal_(fill_value=False)}
    masks["negatives"] = labels[:, None] != labels
    assert module.MyMethodLoss(0.9)(rows, **masks).item() == pytest.approx(expected)
    embedder = module.MyMethodEmbedder(2, margin=0.9, max_epochs=1, random_state=0)
    X = rows.numpy().repeat(4, axis=0)
    assert embedder.fit(X, labels.numpy().repeat(4)).transform(X).shape == (36, 2)
    assert embedder.net_.criterion_.margin == 0.9
    with pytest.raises(InvalidParameterError, match="'margin' parameter of MyMethod"):
        embedder.set_params(margin=3).fit(X, labels.numpy().repeat(4))
    assert "What the paper calls it" in module.MyMethodLoss.__doc__
    assert ".. math::" in embedder.__doc__


def test_example_of_an_oracle_with_proxies_works(example):
    *_, oracle = example
    namespace = {
        **vars(proxy_oracles),
        "Method": lambda *args, **kwargs: kwargs,
    }
    exec(oracle, namespace)
    assert namespace["PROXY_METHODS"] == [..., {"has_proxies": True}]
    loss = NormalizedSoftmaxLoss(3, 4, temperature=0.1).double()
    rows = torch.nn.functional.normalize(torch.eye(4, dtype=torch.float64) + 0.3)
    labels = torch.tensor([0, 1, 2, 2])
    state = {"proxies": loss.proxies.detach().numpy()}
    expected = namespace["my_proxy_method"](10.0)(rows.numpy(), labels.numpy(), state)
    assert loss(rows, labels).item() == pytest.approx(expected)


@pytest.mark.parametrize("name", ["omniglot", "letter"])
def test_tables_of_the_reality_check_hold_its_results(name):
    page = (DOCS / "reality_check.md").read_text()
    with open(DOCS / "reality_check" / f"{name}_results.csv") as file:
        rows = list(csv.DictReader(file))
    single = {row["method"]: row for row in rows if row["scoring"] == "separated"}
    ranked = [row for row in rows if row["scoring"] == "concatenated"]
    ranked.sort(key=lambda row: -float(row["map_at_r"]))
    assert sum(row["kind"] == "method" for row in ranked) == 8
    assert {row["n"] for row in ranked} == {"10"}
    places = []
    for row in ranked:
        shown = [
            row[key] for key in ("map_at_r", "precision_at_1", "nmi", "pairwise_f1")
        ]
        score, *others = [
            f"{float(x):.3f}" for x in (*shown, single[row["method"]]["map_at_r"])
        ]
        line = rf"\| {row['method']} \| {score} \| .*\| {' [|] '.join(others)} \|"
        places.append(re.search(line, page).start())
    assert places == sorted(places)


def test_map_for_developers_holds_every_part():
    page = (DOCS / "developers" / "index.md").read_text()
    root = Path(sk_dml.__file__).parent
    lines = page.partition("sk_dml/\n")[2].partition("\n\n")[0].splitlines()
    folder, parts = root, set()
    for line in lines:
        if match := re.match(r"    (│   )?[├└]── (\S+)", line):
            is_inner, name = match.groups()
            if not is_inner:
                folder = root / name
                parts.add(name.rstrip("/"))
            path = folder / name if is_inner else folder
            assert path.is_dir() if name.endswith("/") else path.is_file(), name
    names = {path.relative_to(root).parts[0] for path in root.rglob("*.py")}
    assert parts == names


@pytest.mark.filterwarnings("ignore:.*queries are left out:UserWarning")
def test_example_of_a_metric_works(monkeypatch):
    page = (DOCS / "developers" / "adding_a_metric.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    of_ranks, entry, of_embeddings, scorer, of_a_ranking = blocks
    namespace = {**vars(_ranks)}
    exec(of_ranks, namespace)
    monkeypatch.setattr(_ranks, "second_tier", namespace["second_tier"], raising=False)
    monkeypatch.setattr(_evaluate, "DEEP_METRICS", {**_evaluate.DEEP_METRICS})
    exec(entry, vars(_evaluate))
    namespace = {**vars(_retrieval), **vars(scorers)}
    exec(of_embeddings + scorer, namespace)
    score = namespace["second_tier_score"]
    monkeypatch.setattr(sk_dml.metrics, score.__name__, score, raising=False)
    (example,) = doctest.DocTestFinder().find(score, globs={})
    assert doctest.DocTestRunner().run(example) == (0, 3)

    rng = np.random.default_rng(0)
    X, labels = reference.points(rng, 11, spread=2), rng.integers(0, 3, size=11)
    head = "def score_ranking(relevant, name):\n    n_relevant = sum(relevant)\n"
    monkeypatch.setattr(reference, "score_ranking", None)
    exec(head + of_a_ranking, vars(reference))
    distances = reference.exact_distances(X, X)
    names = ("second_tier",)
    expected = reference.scores(distances, labels, labels, names, leave_one_out=True)
    expected = expected["second_tier"]
    assert 0 < expected < 1
    assert score(X, labels) == pytest.approx(expected)
    scorer = namespace["second_tier"]
    assert scorer(FunctionTransformer(), X, labels) == pytest.approx(expected)
