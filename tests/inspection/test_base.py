import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_random_state

from sk_dml.inspection import _base
from sk_dml.neighbors import nearest_neighbors


def test_samples_are_drawn_once_and_in_order():
    state = check_random_state(0)
    drawn = _base.draw_sample(100, 30, state)
    assert len(set(drawn)) == 30
    assert (np.diff(drawn) > 0).all()
    assert drawn.max() < 100
    assert drawn.tolist() != list(range(30))
    for size in (None, 7, 8):
        assert _base.draw_sample(7, size, state).tolist() == list(range(7))


def test_neighbors_are_those_of_a_full_search():
    rng = np.random.default_rng(0)
    X = np.repeat(rng.integers(0, 3, (20, 2)), 3, axis=0).astype(float)
    queries = np.array([0, 7, 59, 30])
    distances, indices = _base.nearest(X, queries, n_neighbors=4)
    expected, expected_indices = nearest_neighbors(X, n_neighbors=4)
    np.testing.assert_array_equal(indices, expected_indices[queries])
    np.testing.assert_array_equal(distances, expected[queries])
    distances, indices = _base.nearest(np.eye(2), np.array([1]), np.eye(2))
    assert indices.tolist() == [[1]]  # in a gallery the query may be its neighbor
    assert not distances.any()


def test_options_are_checked_before_the_work():
    class Display(_base.FromEstimatorMixin):
        @classmethod
        def from_embeddings(cls, X, labels, *, k=1):
            return X

    with pytest.raises(TypeError, match="unexpected keyword argument 'gallery'"):
        Display.from_estimator(None, np.eye(4), list("aabb"), gallery=np.eye(4))
    with pytest.raises(ValueError, match="y holds 1 missing labels"):
        Display.from_estimator(None, np.eye(4), ["a", None, "b", "b"])


def test_samples_without_an_embedding_are_named():
    class Display(_base.FromEstimatorMixin):
        @classmethod
        def from_embeddings(cls, X, labels, *, gallery=None):
            return X

    class Embedder(TransformerMixin, BaseEstimator):
        def transform(self, X):
            rows = np.array([[len(str(path)), 1.0] for path in X])
            rows[rows[:, 0] == 7] = np.nan
            return rows

    good, bad = ["a.png", "bb.png", "cc.png"], ["a.png", "bad.png", "odd.png"]
    labels = list("aab")
    assert Display.from_estimator(Embedder(), good, labels).shape == (3, 2)
    message = r"{} must .*; 2 of 3 have no embedding, first at index 1, 'bad\.png'"
    with pytest.raises(ValueError, match=message.format("X")):
        Display.from_estimator(Embedder(), bad, labels)
    with pytest.raises(ValueError, match=message.format("gallery")):
        Display.from_estimator(Embedder(), good, labels, gallery=bad)


def test_bad_input():
    with pytest.raises(ValueError, match="labels must have pairs, got none among 4 s"):
        _base.usable(np.zeros(4, dtype=int), "pairs")
    with pytest.warns(UserWarning, match="1 of 3 samples are left out"):
        assert _base.usable(np.array([2, 0, 1]), "").tolist() == [0, 2]


def test_names_are_of_one_line_and_keep_both_ends():
    assert _base.plain("a\n b\t\x00c") == "a b \N{REPLACEMENT CHARACTER}c"
    assert _base.plain(7) == "7"
    name = "Sanskrit/character41"
    assert _base.plain(name, 20) == name
    for width in range(2, 20):
        short = _base.plain(name, width)
        start, _, end = short.partition("…")
        assert len(short) == width
        assert name.startswith(start)
        assert name.endswith(end)
    assert _base.plain(name, 9) == "Sans…er41"


def test_text_breaks_into_few_lines():
    lines = _base.wrapped("some words " * 20 + "x" * 90, 12, 3).split("\n")
    assert len(lines) == 3
    assert max(map(len, lines)) <= 12
    assert lines[-1].endswith("…")
    assert _base.wrapped("$x$ y", 12, 3) == "$x$ y"


def test_legends_show_all_names_as_they_are():
    ax = Figure().subplots()
    names = ["_hidden", "$x^2$", "same", "same"]
    legend = _base.add_legend(ax, [Line2D([], []) for _ in names], names)
    assert [text.get_text() for text in legend.get_texts()] == names
    text = _base.write(ax.text(0, 0, "", usetex=True), r"\input{x}")
    assert text.get_text() == r"\input{x}"
    for artist in (text, *legend.get_texts()):
        assert (artist.get_parse_math(), artist.get_usetex()) == (False, False)


def test_own_titles_stay_and_the_note_finds_room():
    figure = Figure(layout="constrained")
    ax = figure.subplots()
    ax.set_title("mine", color="red")
    for note in ("first", "second " * 40):
        _base.describe(ax, "Title", note)
    assert ax.get_title() == "mine"
    assert ax.title.get_color() == "red"
    assert ax.get_title(loc="left") == ""
    (artist,) = ax.texts
    assert artist.get_text().startswith("second")
    figure.draw_without_rendering()
    assert "\n" in artist.get_text()
    note, title = artist.get_window_extent(), ax.title.get_window_extent()
    assert title.y0 >= note.y1 - 1
    assert title.y1 <= figure.bbox.y1
    assert note.x1 <= figure.bbox.x1


def test_our_own_title_is_replaced():
    ax = Figure().subplots()
    for title, note in (("First", "a"), ("Second", "b"), ("Third", "")):
        _base.describe(ax, title, note)
        assert ax.get_title(loc="left") == title
        assert [text.get_text() for text in ax.texts] == ([note] if note else [])
