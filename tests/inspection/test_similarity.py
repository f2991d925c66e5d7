import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.preprocessing import normalize

from sk_dml.inspection import SimilarityDisplay


def legend(display):
    return [text.get_text() for text in display.ax_.get_legend().get_texts()]


def test_densities_are_those_of_the_pairs(blobs):
    X, labels = blobs
    display = SimilarityDisplay.from_embeddings(X, labels)
    similarities = normalize(X) @ normalize(X).T
    i, j = np.triu_indices(42, 1)
    same = labels[i] == labels[j]
    pairs = similarities[i, j]
    np.testing.assert_allclose(
        np.sort(display.positive_similarities), np.sort(pairs[same])
    )
    np.testing.assert_allclose(
        np.sort(display.negative_similarities), np.sort(pairs[~same])
    )
    assert legend(display) == [
        f"same class: 126 pairs, mean {pairs[same].mean():.2f}",
        f"different classes: 735 pairs, mean {pairs[~same].mean():.2f}",
    ]
    for _, outline in display.histograms_:
        x, y = outline.get_xy().T
        area = np.abs(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])) / 2
        assert area == pytest.approx(1)
    lines = [outline.get_linestyle() for _, outline in display.histograms_]
    assert lines[0] != lines[1]


def test_plane_has_the_circle_of_the_paper(blobs):
    display = SimilarityDisplay.from_embeddings(
        *blobs, kind="plane", margin=0.4, n_anchors=None
    )
    assert display.boundary_.center == (0, 1)
    # The paper's own decision boundary is where both pulls are equal.
    margin, angle = 0.4, np.linspace(0, 2 * np.pi, 9)
    s_n = display.boundary_.radius * np.cos(angle)
    s_p = 1 + display.boundary_.radius * np.sin(angle)
    push = (s_n + margin) * (s_n - margin)
    pull = (1 + margin - s_p) * (s_p - (1 - margin))
    np.testing.assert_allclose(push, pull, atol=1e-12)
    assert display.scatter_.get_offsets().shape == (42, 2)
    np.testing.assert_array_equal(
        display.scatter_.get_offsets()[:, 1], display.positive_similarities
    )


def test_plane_counts_what_it_shows():
    s_n, s_p = np.array([0.0, 0.9, 0.5, 0.1]), np.array([0.9, 0.5, 0.6, 0.2])
    display = SimilarityDisplay(s_p, s_n, kind="plane")
    display.plot(Figure().subplots(), margin=0.3)
    _, equal, inside = legend(display)
    assert equal.endswith("above it 75% of the points")
    assert inside.endswith("inside it 25% of the points")
    assert display.plot(Figure().subplots()).boundary_ is None
    assert len(legend(display)) == 2


def test_sampled_negatives(blobs):
    display = SimilarityDisplay.from_embeddings(
        *blobs,
        kind="plane",
        negatives="sampled",
        n_pairs=100,
        n_anchors=10,
        random_state=0,
    )
    assert display.scatter_.get_offsets().shape == (100, 2)
    assert len(np.unique(display.positive_similarities)) == 10
    assert "10 of 42 anchors" in display.note
    assert "most similar" not in display.ax_.get_xlabel()


def test_zero_rows_and_one_point():
    labels = list("aabb")
    zeros = SimilarityDisplay.from_embeddings(np.zeros((4, 2)), labels)
    assert not np.any(zeros.positive_similarities)
    ones = SimilarityDisplay.from_embeddings(np.ones((4, 2)), labels)
    np.testing.assert_allclose(ones.negative_similarities, 1)
    ones.figure_.draw_without_rendering()
    plane = SimilarityDisplay.from_embeddings(np.ones((4, 2)), labels, kind="plane")
    plane.figure_.draw_without_rendering()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "circle"}, r"kind must be one of .*got 'circle'"),
        ({"negatives": "all"}, r"negatives must be one of .*got 'all'"),
        ({"n_pairs": 0}, "n_pairs must be >= 1, got 0"),
        ({"n_anchors": 0}, "n_anchors must be >= 1 or None, got 0"),
        ({"margin": 0.4}, "margin must be None, or above 0 with kind='plane'"),
        ({"margin": -1, "kind": "plane"}, "margin must be None, or above 0"),
    ],
)
def test_bad_input(blobs, options, message):
    with pytest.raises(ValueError, match=message):
        SimilarityDisplay.from_embeddings(*blobs, **options)


@pytest.mark.parametrize(
    ("labels", "found"), [("aaa", "3.*and 0"), ("abc", "0.*and 3")]
)
def test_no_pairs(labels, found):
    with pytest.raises(ValueError, match=f"There are {found} of two; both are needed"):
        SimilarityDisplay.from_embeddings(np.eye(3), list(labels))
