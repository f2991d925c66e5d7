import numpy as np
import pytest
from sklearn import config_context
from sklearn.preprocessing import normalize
from sklearn.utils import check_random_state

from sk_dml.inspection._pairs import anchor_pairs, sampled_pairs


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


def test_few_pairs_are_all_taken(rows):
    expected = all_pairs(*rows)
    *found, totals = sampled_pairs(*rows, 1000, check_random_state(0))
    assert totals == (len(expected[0]), len(expected[1]))
    for values, pairs in zip(found, expected, strict=True):
        np.testing.assert_allclose(np.sort(values), np.sort(pairs), atol=1e-14)


def test_many_pairs_are_drawn_evenly(rows):
    state, n_pairs, rounds = check_random_state(0), 40, 400
    many = [sampled_pairs(*rows, n_pairs, state)[:2] for _ in range(rounds)]
    for which, pairs in enumerate(all_pairs(*rows)):
        values = np.concatenate([drawn[which] for drawn in many])
        assert len(values) == n_pairs * rounds
        found, counts = np.unique(values.round(12), return_counts=True)
        # Similarities of these rows say which samples a pair is of.
        np.testing.assert_allclose(found, np.unique(pairs.round(12)), atol=1e-11)
        share = len(values) / len(pairs)
        assert np.abs(counts - share).max() < 5 * np.sqrt(share)


def hardest(rows, codes):
    similarities = rows @ rows.T
    for i in range(len(rows)):
        own = [similarities[i, j] for j in np.flatnonzero(codes == codes[i]) if j != i]
        if own:
            yield min(own), similarities[i, codes != codes[i]].max()


@pytest.mark.parametrize("working_memory", [None, 1e-4])
def test_hardest_pairs_of_every_anchor(rows, working_memory):
    with (
        config_context(working_memory=working_memory or 1024),
        pytest.warns(UserWarning, match="1 of 20 samples are left out"),
    ):
        positives, negatives, n_possible = anchor_pairs(
            *rows, None, None, check_random_state(0)
        )
    assert n_possible == 19
    found = np.stack([positives, negatives], axis=1)
    np.testing.assert_allclose(found, list(hardest(*rows)), atol=1e-14)


def test_sampled_negatives_are_of_other_classes(rows):
    X, codes = rows
    keep = codes > 0
    X, codes = X[keep], codes[keep]
    positives, negatives, _ = anchor_pairs(X, codes, None, 200, check_random_state(0))
    expected = list(hardest(X, codes))
    similarities = X @ X.T
    for i, own in enumerate(codes):
        place = slice(200 * i, 200 * (i + 1))
        np.testing.assert_allclose(positives[place], expected[i][0], atol=1e-14)
        others = np.sort(similarities[i, codes != own])
        found = np.unique(negatives[place].round(12))
        np.testing.assert_allclose(found, others, atol=1e-11)


def test_anchors_are_drawn(rows):
    X, codes = rows[0], np.arange(20) % 4
    positives, negatives, n_possible = anchor_pairs(
        X, codes, 6, None, check_random_state(0)
    )
    assert len(positives) == len(negatives) == 6
    assert n_possible == 20
    expected = np.array(list(hardest(X, codes)))
    for pair in zip(positives, negatives, strict=True):
        assert np.abs(expected - pair).max(axis=1).min() < 1e-14


@pytest.mark.parametrize("codes", [np.zeros(20, int), np.arange(20)])
def test_nothing_to_compare(rows, codes):
    with pytest.raises(ValueError, match="No sample has another of its class"):
        anchor_pairs(rows[0], codes, None, None, check_random_state(0))
