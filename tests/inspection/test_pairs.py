import numpy as np
import pytest
from sklearn import config_context
from sklearn.preprocessing import normalize
from sklearn.utils import check_random_state

from sk_dml.inspection._similarity import anchor_pairs, sampled_pairs


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
        (1000, "all pairs"),
        (143, "all pairs"),
        (100, "100 of 143 pairs between classes, drawn at random, all others"),
        (40, "40 of 47 pairs within and 40 of 143 pairs between classes, drawn at"),
    ],
)
def test_pairs_are_drawn_without_replacement(rows, n_pairs, note):
    found = sampled_pairs(*rows, n_pairs, check_random_state(0))
    assert found[2].startswith(note)
    for values, pairs in zip(found, all_pairs(*rows), strict=False):
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
    assert note == "19 anchors"
    found = np.stack([positives, negatives], axis=1)
    np.testing.assert_allclose(found, list(hardest(*rows)), atol=1e-14)


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
    each = "3" if n_pairs == 60 else "11 to 17"
    assert note == f"19 anchors, with {each} of other classes each"


def test_anchors_are_drawn(rows):
    X, codes = rows[0], np.arange(20) % 4
    positives, negatives, note = anchors_of(X, codes, n_anchors=6)
    assert len(positives) == len(negatives) == 6
    assert note == "6 of 20 anchors, drawn at random"
    expected = np.array(list(hardest(X, codes)))
    for pair in zip(positives, negatives, strict=True):
        assert np.abs(expected - pair).max(axis=1).min() < 1e-14
    # The pairs are dealt out among the anchors drawn, not among all samples.
    _, _, note = anchors_of(X, codes, n_anchors=6, n_pairs=30, negatives="sampled")
    assert note.endswith("with 5 of other classes each")


@pytest.mark.parametrize("codes", [np.zeros(20, int), np.arange(20)])
def test_nothing_to_compare(rows, codes):
    with pytest.raises(ValueError, match="No sample has another of its class"):
        anchors_of(rows[0], codes)
