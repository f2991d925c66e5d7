"""Metrics of lists of neighbors, as of an approximate search."""

import tracemalloc

import numpy as np
import pytest
from sklearn import config_context

from sk_dml.metrics import _listing, retrieval_scores
from sk_dml.neighbors import nearest_neighbors, neighbor_recall
from tests.neighbors.descent import LossyDescent, install

NAMES = ("precision_at_1", "precision_at_2", "r_precision", "map_at_r", "recall_at_3")


def scores(rows, labels, random_state=0, metrics=NAMES, **keywords):
    return retrieval_scores(
        rows,
        labels,
        metrics=metrics,
        search="approximate",
        random_state=random_state,
        **keywords,
    )


def clusters(n=900):
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 60
    return rng.normal(size=(60, 8))[labels] + 0.5 * rng.normal(size=(n, 8)), labels


@pytest.mark.parametrize("separate", [False, True])
def test_finds_nearly_the_same(monkeypatch, separate):
    install(monkeypatch, LossyDescent)
    rows, labels = clusters()
    where = {}
    if separate:
        where = {"gallery": rows[300:], "gallery_labels": labels[300:]}
        rows, labels = rows[:300], labels[:300]
    names = (*NAMES, "neighbor_recall")
    exact = retrieval_scores(rows, labels, metrics=names, **where)
    found = scores(rows, labels, metrics=names, **where)
    assert LossyDescent.n_built == 1
    assert exact["neighbor_recall"] == 1
    assert 0.9 < found["neighbor_recall"] < 1
    assert found["map_at_r"] != exact["map_at_r"]
    for name in NAMES:
        assert found[name] == pytest.approx(exact[name], abs=0.06)


def test_recall_is_that_of_some_lists(monkeypatch):
    install(monkeypatch, LossyDescent)
    rows, labels = clusters()
    found = scores(rows, labels, metrics="neighbor_recall")["neighbor_recall"]
    _, indices = nearest_neighbors(rows, n_neighbors=14, search="approximate")
    assert found == pytest.approx(neighbor_recall(indices, rows), abs=0.005)

    searched = []
    recall_of = _listing.recall_of
    monkeypatch.setattr(
        _listing, "recall_of", lambda *args: searched.append(args) or recall_of(*args)
    )
    monkeypatch.setattr(_listing, "SAMPLED", 70)
    for seed in (0, 0, 1):
        scores(rows, labels, seed, metrics="neighbor_recall")
    first, second, other = (queries for _, _, queries, _ in searched)
    assert first.shape == (70, 8)
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


@pytest.mark.parametrize("separate", [False, True])
def test_lists_are_ranked_as_the_whole(separate):
    # So few different rows are searched exactly; ties abound, and lists cut them.
    rng = np.random.default_rng(0)
    rows = rng.integers(-1, 2, size=(60, 2)).astype(float)
    labels = rng.integers(0, 6, size=60)
    where = {}
    if separate:
        where = {"gallery": rows[20:], "gallery_labels": labels[20:]}
        rows, labels = rows[:20], labels[:20]
    exact = retrieval_scores(rows, labels, metrics=NAMES, **where)
    draws = [scores(rows, labels, seed, **where) for seed in range(200)]
    for name in NAMES:
        values = np.array([draw[name] for draw in draws])
        noise = values.std() / np.sqrt(len(values))
        assert abs(values.mean() - exact[name]) < 4 * noise + 1e-12
    # Lists of the whole gallery cut nothing.
    names = [*NAMES, "precision_at_40" if separate else "precision_at_59"]
    exact = retrieval_scores(rows, labels, metrics=names, **where)
    assert scores(rows, labels, metrics=names, **where) == pytest.approx(exact)


@pytest.mark.parametrize("order", [1, -1])
def test_constant_embedding_scores_chance_in_any_order(order):
    labels = np.repeat([0, 1], [20, 180])[::order]
    rows = np.ones((200, 4))
    exact = retrieval_scores(rows, labels)
    draws = [scores(rows, labels, seed) for seed in range(100)]
    for name in ("precision_at_1", "map_at_r"):
        values = np.array([draw[name] for draw in draws])
        assert values == pytest.approx(exact[name], abs=0.06)
        assert values.mean() == pytest.approx(exact[name], abs=4 * values.std() / 10)


def test_seeded(monkeypatch):
    install(monkeypatch, LossyDescent)
    rows, labels = clusters()
    rows = np.round(rows, 0)
    first, second, other = (scores(rows, labels, seed) for seed in (0, 0, 1))
    assert first == second != other


def test_blocks_keep_to_the_working_memory(monkeypatch):
    install(monkeypatch, LossyDescent)
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(6000, 2)), np.arange(6000) % 3
    where = {"gallery": rows[:600], "gallery_labels": labels[:600]}
    expected = scores(rows, labels, **where)
    with config_context(working_memory=4):
        tracemalloc.start()
        found = scores(rows, labels, **where)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    # All distances and indices of lists of 200 would be 19 MB.
    assert peak < 12e6
    assert found == pytest.approx(expected, abs=0.02)  # who gets stuck differs


def test_values_too_large():
    for where in ({}, {"gallery": np.full((2, 1), 1e301), "gallery_labels": [0, 1]}):
        rows = np.full((4, 1), 1.0 if where else 1e301)
        with pytest.raises(ValueError, match=r"contains values beyond 1e.300"):
            scores(rows, [0, 0, 1, 1], metrics="map_at_r", **where)
