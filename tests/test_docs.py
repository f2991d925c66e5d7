"""The documentation says what the code does."""

import csv
import importlib.util
import re
import runpy
import sys
from pathlib import Path

import pytest
import torch
from sk_dml.losses import NormalizedSoftmaxLoss

from sk_dml.utils import all_embedders
from tests.embedders import pair_oracles, proxy_oracles

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


def test_page_of_methods_is_current():
    builder = runpy.run_path(str(DOCS / "build_methods.py"))
    page = builder["page"]()
    assert (DOCS / "methods.md").read_text() == page, "python docs/build_methods.py"
    for name, _ in all_embedders():
        text = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        assert "```math\n" in text
        assert re.search(r"^1\. .*(19|20)\d\d", text, re.MULTILINE)
        assert f"| [{name}](#{name.lower()}) | " in page
    assert not re.search(r":\w+:`|\[\d\]_", page)


@pytest.fixture
def example():
    blocks = re.findall(
        r"```python\n(.*?)```", (DOCS / "adding_a_method.md").read_text(), re.DOTALL
    )
    return load("my_method", blocks[0]), *blocks[2:]


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
    embedder = module.MyMethodEmbedder(2, max_epochs=1, random_state=0)
    X = rows.numpy().repeat(4, axis=0)
    assert embedder.fit(X, labels.numpy().repeat(4)).transform(X).shape == (36, 2)
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
