"""A new kind of input is one class and one line: those of the developers' page."""

import pickle
import re
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sk_dml._inputs
from sk_dml import CircleEmbedder, NormalizedSoftmaxEmbedder
from sk_dml._inputs._source import Source, count_axes, evenly_spaced, training_sample

PAGE = Path(__file__).parents[2] / "docs" / "developers" / "adding_an_input.md"


@pytest.fixture(scope="module")
def series():
    """The names of the page, while its kind of input is registered."""
    module: Any = types.ModuleType("series_of_the_page")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, module.__name__, module)  # for pickle
        patch.setattr(sk_dml._inputs, "KINDS", [*sk_dml._inputs.KINDS])
        module.KINDS = sk_dml._inputs.KINDS
        for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
            exec(block, vars(module))
        yield module


def test_a_new_kind_of_input_works(series):
    X, y, embedder = series.X, series.y, series.embedder
    assert type(embedder.net_.module_.backbone) is series.SeriesNet
    assert series.embedding.shape == (120, 8)
    assert series.scores.min() > 0.9
    again = pickle.loads(pickle.dumps(embedder))
    np.testing.assert_array_equal(again.transform(X), series.embedding)
    with pytest.raises(ValueError, match=r"series of shape \(39, 2\).*\(40, 2\)"):
        embedder.transform(X[:, 1:])
    proxies = NormalizedSoftmaxEmbedder(8, early_stopping=True, max_epochs=2)
    assert proxies.fit(X, y).best_score_ > 0


def test_a_new_kind_may_be_stored_and_resumed(series, tmp_path):
    embedder = CircleEmbedder(8, max_epochs=2, random_state=0, checkpoint_dir=tmp_path)
    expected = embedder.fit(series.X, series.y).transform(series.X)
    again = embedder.fit(series.X, series.y).transform(series.X)
    np.testing.assert_array_equal(again, expected)
    with pytest.raises(ValueError, match=r"X was .*float32 of shape \(120, 40, 2\)"):
        embedder.fit(series.X[::-1], series.y)


def test_defaults_of_sources_in_memory():
    X = np.random.default_rng(0).normal(3, 2, (50, 4, 2)).astype(np.float32)
    X[:, 1] = 7
    source = Source.from_array(X)
    assert (len(source), source.shape, source.dtype) == (50, X.shape, X.dtype)
    samples, readable = source.take(np.array([4, 1, 1]))
    np.testing.assert_array_equal(samples, X[[4, 1, 1]])
    assert readable.tolist() == [True] * 3
    mask = np.arange(50) % 3 == 1
    np.testing.assert_array_equal(source[mask].array, X[mask])
    mean, scale = source.statistics()
    np.testing.assert_allclose(mean, X.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(scale[[0, 2, 3]], X.std(axis=0)[[0, 2, 3]], rtol=1e-5)
    assert scale[1].tolist() == [1, 1]
    assert source.describe_unreadable(np.array([3])) == [(3, "cannot be read")]
    assert source.fingerprint() == source.subset(np.arange(50)).fingerprint()
    assert source.fingerprint() != source.subset(np.arange(50)[::-1]).fingerprint()


@pytest.mark.parametrize(
    ("X", "n_axes"),
    [
        (np.zeros((3, 2)), 2),
        ([[1, 2]], 2),
        ([], 1),
        (np.arange(3), 1),
        (["a"], 1),
        ([np.zeros((2, 2))], 3),
        ([[[[1]]]], 4),
        (None, 0),
        ({"a": 1}, 0),
        (np.array(3), 0),
    ],
)
def test_axes_of_nested_data(X, n_axes):
    assert count_axes(X) == n_axes


@pytest.mark.parametrize(("n", "wanted"), [(10, 3), (10, 10), (3, 10), (100_000, 1000)])
def test_evenly_spaced(n, wanted):
    indices = evenly_spaced(n, wanted)
    assert len(indices) == min(n, wanted)
    assert (indices[0], indices[-1]) == (0, n - 1)
    assert np.ptp(np.diff(indices)) <= 1


def test_samples_of_training_come_in_blocks_with_their_classes():
    source = Source.from_array(np.arange(100.0)[:, None])
    blocks = list(training_sample(source, np.arange(100)))
    assert [len(rows) for rows, _ in blocks] == [32, 32, 32, 4]
    for rows, labels in blocks:
        assert (rows[:, 0] == labels).all()
    assert blocks[-1][1][-1] - blocks[0][1][0] > 90
