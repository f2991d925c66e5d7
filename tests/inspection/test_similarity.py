import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from sklearn import config_context
from sklearn.preprocessing import normalize
from sklearn.utils import check_random_state

from sk_dml.inspection import SimilarityDisplay
from sk_dml.inspection._similarity import anchor_pairs, sampled_pairs
from sk_dml.losses import CircleLoss

draw = SimilarityDisplay.from_embeddings


def legend(display):
    return [text.get_text() for text in display.ax_.get_legend().get_texts()]


def test_densities_are_those_of_the_pairs(blobs):
    X, labels = blobs
    display = draw(X, labels)
    similarities = normalize(X) @ normalize(X).T
    i, j = np.triu_indices(42, 1)
    same = labels[i] == labels[j]
    pairs = similarities[i, j]
    positives, negatives = display.positive_similarities, display.negative_similarities
    for values, own in ((positives, same), (negatives, ~same)):
        np.testing.assert_allclose(np.sort(values), np.sort(pairs[own]))
    assert legend(display) == [
        f"same class: 126 pairs, mean {pairs[same].mean():.2f}",
        f"different classes: 735 pairs, mean {pairs[~same].mean():.2f}",
    ]
    for (outline,) in display.histograms_:
        x, y = outline.get_xy().T
        area = np.abs(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1])) / 2
        assert area == pytest.approx(1)
    lines = [outline.get_linestyle() for (outline,) in display.histograms_]
    assert lines[0] != lines[1]


def logit(s_p, s_n, margin):
    """Compute the exponent of the Circle loss of one anchor, from the loss itself."""
    angles = np.array([0, np.arccos(s_p), -np.arccos(s_n)])
    rows = torch.tensor(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    loss = CircleLoss(margin=margin, gamma=1.0)(
        rows[:1], torch.tensor([0]), rows[1:], torch.tensor([0, 1])
    )
    return float(torch.log(torch.expm1(loss)))


@pytest.mark.parametrize("margin", [0.25, 0.8])
def test_boundary_is_where_the_loss_turns(margin, blobs):
    display = draw(*blobs, kind="plane", margin=margin)
    s_n, s_p = display.boundary_.get_data()
    on_plane = np.abs(s_n) < 1
    s_n, s_p = s_n[on_plane], s_p[on_plane]
    assert s_n.min() <= -margin
    assert s_n.max() > 0.3
    for at_n, at_p in zip(s_n[::20], s_p[::20], strict=True):
        assert logit(at_p, at_n, margin) == pytest.approx(0, abs=1e-4)
    assert display.scatter_.get_offsets().shape == (42, 2)
    np.testing.assert_array_equal(
        display.scatter_.get_offsets()[:, 1], display.positive_similarities
    )


@pytest.mark.parametrize("margin", [0.25, 0.8])
def test_plane_counts_points_beyond_the_boundary(margin):
    rng = np.random.default_rng(0)
    s_p, s_n = rng.uniform(-1, 1, 60), rng.uniform(-1, 0.6, 60)
    display = SimilarityDisplay(s_p, s_n, kind="plane")
    display.plot(Figure().subplots(), margin=margin)
    done = np.mean([logit(*pair, margin) < 0 for pair in zip(s_p, s_n, strict=True)])
    assert 0 < done < 1
    _, equal, beyond = legend(display)
    assert beyond.endswith(f"beyond it {done:.0%} of the points")
    assert equal.endswith(f"above it {np.mean(s_p > s_n):.0%} of the points")
    assert display.plot(Figure().subplots()).boundary_ is None
    assert len(legend(display)) == 2
    far = SimilarityDisplay(np.array([0.95, 1.0]), np.array([-0.6, -0.9]), kind="plane")
    text = legend(far.plot(Figure().subplots(), margin=0.4))[2]
    assert text.endswith("beyond it 100% of the points")


def test_sampled_negatives(blobs):
    options = {"negatives": "sampled", "n_pairs": 100, "n_anchors": 10}
    display = draw(*blobs, kind="plane", random_state=0, **options)
    assert display.scatter_.get_offsets().shape == (100, 2)
    assert len(np.unique(display.positive_similarities)) == 10
    assert "10 of 42 anchors" in display.note
    assert "with 10 to 10 of other classes each" in display.note
    assert "most similar" not in display.ax_.get_xlabel()


def test_zero_rows_and_one_point():
    labels = list("aabb")
    zeros = draw(np.zeros((4, 2)), labels)
    assert not np.any(zeros.positive_similarities)
    ones = draw(np.ones((4, 2)), labels)
    np.testing.assert_allclose(ones.negative_similarities, 1)
    ones.figure_.draw_without_rendering()
    plane = draw(np.ones((4, 2)), labels, kind="plane")
    plane.figure_.draw_without_rendering()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "circle"}, r"kind must be one of .*got 'circle'"),
        ({"negatives": "all"}, r"negatives must be one of .*got 'all'"),
        ({"n_pairs": 0}, "n_pairs must be an integer >= 1, got 0"),
        ({"n_anchors": 0}, "n_anchors must be >= 1, got 0"),
        ({"margin": 0.4}, "margin must be None, or above 0 with kind='plane'"),
        ({"margin": -1, "kind": "plane"}, "margin must be None, or above 0"),
    ],
)
def test_bad_input(blobs, options, message):
    with pytest.raises(ValueError, match=message):
        draw(*blobs, **options)
    for labels, counts in (("aaa", "3.*and 0"), ("abc", "0.*and 3")):
        with pytest.raises(ValueError, match=f"labels must .*got {counts} of two"):
            draw(np.eye(3), list(labels))


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    codes = rng.permutation(np.repeat(np.arange(5), [1, 2, 3, 6, 8]))
    return normalize(rng.normal(size=(20, 4))), codes


def all_pairs(rows, codes):
    similarities = rows @ rows.T
    i, j = np.triu_indices(len(rows), 1)
    same = codes[i] == codes[j]
    return similarities[i, j][same], similarities[i, j][~same]


@pytest.mark.parametrize(
    ("n_pairs", "note"),
    [
        (143, "47 of 47 pairs within classes, 143 of 143 between them"),
        (100, "47 of 47 pairs within classes, 100 of 143 between them"),
        (40, "40 of 47 pairs within classes, 40 of 143 between them"),
    ],
)
def test_pairs_are_drawn_without_replacement(rows, n_pairs, note):
    parts = sampled_pairs(*rows, n_pairs, check_random_state(0))
    assert parts[2] == note
    for values, pairs in zip(parts, all_pairs(*rows), strict=False):
        assert len(values) == min(n_pairs, len(pairs))
        # Similarities of these rows say which samples a pair is of.
        assert len(np.unique(values.round(12))) == len(values)
        assert np.isin(values.round(12), pairs.round(12)).mean() > 0.95


def hardest(rows, codes):
    similarities = rows @ rows.T
    for i in range(len(rows)):
        own = [similarities[i, j] for j in np.flatnonzero(codes == codes[i]) if j != i]
        if own:
            yield min(own), similarities[i, codes != codes[i]].max()


def anchors_of(X, codes, *, negatives="hardest", n_anchors=None, n_pairs=1):
    return anchor_pairs(
        X,
        codes,
        negatives=negatives,
        n_anchors=n_anchors,
        n_pairs=n_pairs,
        random_state=check_random_state(0),
    )


@pytest.mark.parametrize("working_memory", [1024, 1e-4])
def test_hardest_pairs_of_every_anchor(rows, working_memory):
    with (
        config_context(working_memory=working_memory),
        pytest.warns(UserWarning, match="1 of 20 samples are left out"),
    ):
        positives, negatives, note = anchors_of(*rows)
    assert note == "19 of 19 anchors"
    pairs = np.stack([positives, negatives], axis=1)
    np.testing.assert_allclose(pairs, list(hardest(*rows)), atol=1e-14)


@pytest.mark.parametrize("n_pairs", [60, 1000])
def test_sampled_negatives_are_different_samples_of_other_classes(rows, n_pairs):
    X, codes = (part[rows[1] > 0] for part in rows)
    positives, negatives, note = anchors_of(
        X, codes, negatives="sampled", n_pairs=n_pairs
    )
    expected = [own for own, _ in hardest(X, codes)]
    similarities, start = X @ X.T, 0
    for i, own in enumerate(codes):
        others = similarities[i, codes != own]
        n_drawn = min(n_pairs // 19, len(others))
        drawn = slice(start, start + n_drawn)
        np.testing.assert_allclose(positives[drawn], expected[i], atol=1e-14)
        gaps = np.abs(negatives[drawn, None] - others)
        assert gaps.min(axis=1).max() < 1e-14
        assert len(set(gaps.argmin(axis=1))) == n_drawn
        start += n_drawn
    assert len(positives) == len(negatives) == start
    each = "3 to 3" if n_pairs == 60 else "11 to 17"
    assert note == f"19 of 19 anchors, with {each} of other classes each"


def test_anchors_are_drawn(rows):
    X, codes = rows[0], np.arange(20) % 4
    positives, negatives, note = anchors_of(X, codes, n_anchors=6)
    assert len(positives) == len(negatives) == 6
    assert note == "6 of 20 anchors"
    expected = np.array(list(hardest(X, codes)))
    for pair in zip(positives, negatives, strict=True):
        assert np.abs(expected - pair).max(axis=1).min() < 1e-14
    # The pairs are dealt out among the anchors drawn, not among all samples.
    _, _, note = anchors_of(X, codes, n_anchors=6, n_pairs=30, negatives="sampled")
    assert note.endswith("with 5 to 5 of other classes each")


@pytest.mark.parametrize("codes", [np.zeros(20, int), np.arange(20)])
def test_nothing_to_compare(rows, codes):
    with pytest.raises(ValueError, match=r"labels must .*got none among 20 samples"):
        anchors_of(rows[0], codes)
