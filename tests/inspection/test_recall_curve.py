import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.preprocessing import StandardScaler

from sk_dml.inspection import RecallCurveDisplay
from sk_dml.inspection._base import COLORS
from sk_dml.metrics import recall_at_k_score

draw = RecallCurveDisplay.from_embeddings


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("spread", [3, 0])
def test_points_are_those_of_the_metric(blobs, metric, spread):
    # Few positions for many points, so that distances tie.
    X, labels = np.round(spread * blobs[0][:, :2] / 3), blobs[1]
    k = [1, 2, 5, 13, 41]
    display = draw(X, labels, k=k, metric=metric)
    expected = [recall_at_k_score(X, labels, k=i, metric=metric) for i in k]
    np.testing.assert_allclose(display.recall, expected, atol=1e-12)
    gallery = {"gallery": X[::2] + 1, "gallery_labels": labels[::2]}
    display = draw(X, labels, k=k[:4], metric=metric, **gallery)
    expected = [
        recall_at_k_score(X, labels, k=i, metric=metric, **gallery) for i in k[:4]
    ]
    np.testing.assert_allclose(display.recall, expected, atol=1e-12)


def test_curves_share_axes(blobs):
    X, labels = blobs
    first = draw(X, labels, name="_all of $x$")
    second = draw(X[:, :1], labels, ax=first.ax_)
    assert second.ax_ is first.ax_
    assert second.plot(first.ax_, name="again").ax_ is first.ax_
    names = [text.get_text() for text in first.ax_.get_legend().get_texts()]
    assert len(names) == 3
    start = f"_all of $x$, recall@1 = {first.recall[0]:.1%}"
    assert names[0] == f"{start}\n42 queries, searched among 41 others"
    assert names[1].startswith("recall@1 = ")
    assert names[2].startswith("again")
    lines = first.ax_.get_lines()
    assert len({line.get_linestyle() for line in lines}) == 3
    assert len({line.get_color() for line in lines}) == 3
    assert first.ax_.get_xscale() == "log"
    first.figure_.draw_without_rendering()


def test_other_artists_stay(blobs):
    ax = Figure().subplots()
    (mine,) = ax.plot([1, 30], [0, 1], label="$mine$")
    ax.fill_between([1, 30], [0, 1], label="filled")
    ax.axhline(0.5)
    first = draw(*blobs, k=[1, 4, 16], ax=ax, name="$a$")
    draw(*blobs, k=[1, 8], ax=ax)
    assert ax.get_xticks().tolist() == [1, 4, 8, 16]
    assert first.line_.get_color() == COLORS[0]
    texts = ax.get_legend().get_texts()
    assert [text.get_text().partition(",")[0] for text in texts[::2]] == [
        "$a$",
        "$mine$",
    ]
    assert len(texts) == 4
    assert [text.get_parse_math() for text in texts] == [False, False, True, True]
    assert texts[3].get_text() == "filled"
    assert mine.get_label() == "$mine$"
    ax.figure.draw_without_rendering()


@pytest.mark.parametrize(
    ("n_samples", "expected"), [(3, [1, 2]), (129, [2**i for i in range(8)])]
)
def test_default_k_fits_the_gallery(n_samples, expected):
    X = np.arange(n_samples)[:, None]
    labels = np.arange(n_samples) == n_samples - 1
    with pytest.warns(UserWarning, match=f"1 of {n_samples} queries are left out"):
        display = draw(X, labels)
    assert display.k.tolist() == expected
    assert display.recall[-1] == 1
    note = f"{n_samples - 1} of {n_samples} queries, searched among {n_samples - 1} "
    assert display.note == f"{note}others"


def test_names_come_from_the_estimator(blobs):
    scaler = StandardScaler().fit(blobs[0])
    display = RecallCurveDisplay.from_estimator(scaler, *blobs)
    assert display.line_.get_label().startswith("StandardScaler, recall@1")
    gallery = {"gallery": blobs[0], "gallery_labels": blobs[1]}
    display = RecallCurveDisplay.from_estimator(scaler, *blobs, name="x", **gallery)
    assert display.recall[0] == 1
    assert display.line_.get_label().startswith("x, recall@1 = 100.0%\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": [0]}, r"k must be a list of integers from 1 to 41.*got \[0\]"),
        ({"k": [42]}, r"k must be a list of integers from 1 to 41.*got \[42\]"),
        ({"k": [1.5]}, "k must be a list of integers"),
        ({"k": 5}, "k must be a list of integers .* got 5"),
        ({"gallery": [[0.0] * 5]}, "go together, got only gallery"),
        ({"metric": "l1"}, "metric must be one of"),
    ],
)
def test_bad_input(blobs, options, message):
    with pytest.raises(ValueError, match=message):
        draw(*blobs, **options)
