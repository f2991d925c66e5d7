"""The compiled search ranks as the plain one does."""

import numpy as np
import pytest
from sklearn import config_context

from sk_dml.metrics import _counting

# All of them call compiled code.

DATA = {
    "normal": lambda rng: rng.normal(size=(300, 9)),
    "single precision": lambda rng: rng.normal(size=(300, 9)).astype(np.float32),
    "duplicates": lambda rng: rng.normal(size=(300, 9))[rng.integers(0, 40, 300)],
    "grid": lambda rng: rng.integers(-1, 2, size=(300, 4)).astype(float),
    "offset": lambda rng: rng.normal(size=(300, 9)) + 1e6,
    "nearly equal": lambda rng: 1 + 1e-9 * rng.normal(size=(300, 9)),
    "one point": lambda rng: np.ones((300, 3)),
    "huge": lambda rng: 1e300 * rng.normal(size=(300, 17)),
    "tiny": lambda rng: 1e-310 * rng.normal(size=(300, 17)),
    "a far row": lambda rng: np.vstack([rng.normal(size=(299, 9)), np.full(9, 1e30)]),
    "a wide column": lambda rng: np.c_[
        rng.integers(1, 4, 300) * 1e6, rng.normal(size=(300, 9))
    ],
    "mostly zero": lambda rng: np.maximum(rng.normal(size=(300, 5)) - 1.5, 0),
    "many lengths": lambda rng: (
        rng.normal(size=(300, 9)) * 10.0 ** rng.uniform(-100, 0, size=(300, 1))
    ),
}


def ranks(
    X, codes, gallery=None, gallery_codes=None, *, depth=None, metric="euclidean"
):
    gallery_codes = codes if gallery is None else gallery_codes
    depth = np.full(len(X), 10**9) if depth is None else depth
    groups = {}
    for queries, (found,) in _counting.score_in_blocks(
        X, codes, gallery, gallery_codes, metric=metric, depth=depth, score=as_groups
    ):
        groups |= {int(query): g for query, g in zip(queries, found, strict=True) if g}
    return groups


def as_groups(ranks):
    """List the groups of every query."""
    found = np.empty(len(ranks.n_relevant), dtype=object)
    found[:] = [[] for _ in found]
    names = ("position", "hits_before", "hits", "size")
    for at, query in enumerate(ranks.query):
        found[query].append(tuple(int(getattr(ranks, name)[at]) for name in names))
    return (found,)


def use_compiled(monkeypatch, tile=32):
    monkeypatch.setattr(_counting, "FEW_PAIRS", 0)
    monkeypatch.setattr(_counting, "TILE", tile)


@pytest.mark.parametrize("make", DATA.values(), ids=list(DATA))
@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_both_ways_find_the_same_ranks(make, separate, metric, monkeypatch):
    rng = np.random.default_rng(0)
    X, codes = make(rng), rng.integers(0, 25, size=300)
    arguments = (X, codes)
    if separate:
        arguments = (X[:90], codes[:90], X[90:], codes[90:])
    expected = ranks(*arguments, metric=metric)
    use_compiled(monkeypatch)
    assert ranks(*arguments, metric=metric) == expected


def test_ranks_to_a_depth_are_the_first_ones(monkeypatch):
    rng = np.random.default_rng(0)
    X, codes = rng.normal(size=(300, 5)), rng.integers(0, 9, size=300)
    depth = rng.integers(1, 60, size=300)
    expected = ranks(X, codes)
    use_compiled(monkeypatch)
    found = ranks(X, codes, depth=depth)
    for query, groups in expected.items():
        reached = [group for group in groups if group[0] < depth[query]]
        assert found.get(query, []) == reached


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_any_number_of_threads(n_threads, monkeypatch):
    rng = np.random.default_rng(0)
    X, codes = rng.normal(size=(70, 5)), rng.integers(0, 9, size=70)
    expected = ranks(X, codes)
    use_compiled(monkeypatch, tile=3)
    monkeypatch.setattr(_counting, "_openmp_effective_n_threads", lambda: n_threads)
    assert ranks(X, codes) == expected


def test_huge_classes_are_searched_query_by_query(monkeypatch):
    rng = np.random.default_rng(0)
    X, codes = rng.normal(size=(80, 5)), np.arange(80) % 2
    expected = ranks(X, codes)
    use_compiled(monkeypatch)
    with config_context(working_memory=1e-6):
        assert ranks(X, codes) == expected
