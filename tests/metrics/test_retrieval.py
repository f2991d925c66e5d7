import numpy as np
import pytest
from sklearn import config_context
from threadpoolctl import threadpool_info

from sk_dml import metrics
from sk_dml.metrics import (
    _counting,
    map_at_r_score,
    precision_at_1_score,
    precision_at_k_score,
    recall_at_k_score,
    retrieval_scores,
    retrieval_values,
)
from tests.metrics import reference
from tests.metrics.reference import NAMES, exact_distances, points, random_data

# Most of them call compiled code.

LARGE = 2**24


@pytest.fixture(params=["few", "many", "many in blocks"])
def way(request, monkeypatch):
    """Search as for few rows, and as for many in small tiles and blocks."""
    if request.param != "few":
        monkeypatch.setattr(_counting, "FEW_PAIRS", 0)
        monkeypatch.setattr(_counting, "TILE", 4)
    if request.param == "many in blocks":
        monkeypatch.setattr(_counting, "PAIR_BYTES", 2**24)
        monkeypatch.setattr(_counting, "RANKED_PAIRS", 40)


LABELS = {
    "strings": lambda codes: np.array(["ant", "bee", "cat", "dog", "eel"])[codes],
    "objects": lambda codes: np.array(["ant", "bee", "cat", "dog", "eel"], object)[
        codes
    ],
    "large integers": lambda codes: np.int64(LARGE) + codes,
    "huge integers": lambda codes: np.int64(2**60) + codes,
    "booleans": lambda codes: codes > 1,
}


@pytest.mark.usefixtures("way")
@pytest.mark.filterwarnings("ignore:.*queries are left out:UserWarning")
@pytest.mark.parametrize("make_labels", LABELS.values(), ids=list(LABELS))
@pytest.mark.parametrize("seed", range(4))
def test_leave_one_out_equals_reference(seed, make_labels):
    rng = np.random.default_rng(seed)
    X = points(rng, 11, spread=2)
    codes = rng.integers(0, 3, size=11)
    codes[-1] = 4  # alone in its class, unless labels merge it with others
    labels = make_labels(codes)
    found = retrieval_scores(X, labels, metrics=NAMES)
    distances = exact_distances(X, X)
    expected = reference.scores(distances, labels, labels, NAMES, leave_one_out=True)
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.usefixtures("way")
@pytest.mark.filterwarnings("ignore:.*queries are left out:UserWarning")
@pytest.mark.filterwarnings("ignore:All items .* are of one class:UserWarning")
@pytest.mark.parametrize("make_labels", LABELS.values(), ids=list(LABELS))
@pytest.mark.parametrize("seed", range(4))
def test_gallery_equals_reference(seed, make_labels):
    rng = np.random.default_rng(seed)
    X, gallery = points(rng, 6, spread=2), points(rng, 9, spread=2)
    codes = rng.integers(0, 4, size=15)
    labels, gallery_labels = np.split(make_labels(codes), [6])
    found = retrieval_scores(
        X, labels, metrics=NAMES, gallery=gallery, gallery_labels=gallery_labels
    )
    distances = exact_distances(X, gallery)
    expected = reference.scores(
        distances, labels, gallery_labels, NAMES, leave_one_out=False
    )
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_random_data_with_duplicates_equals_reference(metric, dtype):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 5)).astype(dtype)
    X[[10, 20, 28]] = X[:3]  # of the same and of other classes
    labels = np.r_[np.arange(20) % 4, np.arange(10) % 4]
    rows = X.astype(np.float64)
    if metric == "cosine":
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    distances = np.linalg.norm(rows[:, None] - rows[None], axis=2).tolist()
    found = retrieval_scores(X, labels, metrics=NAMES, metric=metric)
    expected = reference.scores(distances, labels, labels, NAMES, leave_one_out=True)
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("order", ["sorted", "reversed", "shuffled"])
def test_constant_embedding_scores_chance_in_any_order(order):
    labels = np.repeat(np.arange(5), [2, 3, 5, 10, 20])
    rng = np.random.default_rng(0)
    if order != "sorted":
        labels = labels[::-1] if order == "reversed" else rng.permutation(labels)
    X = np.full((40, 7), 0.1, dtype=np.float32)
    found = retrieval_scores(X, labels, metrics=("precision_at_1", "map_at_r"))
    n_relevant = np.bincount(labels)[labels] - 1
    assert found["precision_at_1"] == pytest.approx((n_relevant / 39).mean(), abs=1e-12)
    draws = []
    for r in n_relevant:
        relevant = np.zeros((400, 39), dtype=bool)
        relevant[:, :r] = True
        top = rng.permuted(relevant, axis=1)[:, :r]
        precision = top.cumsum(axis=1) / np.arange(1, r + 1)
        draws.append((precision * top).sum(axis=1) / r)
    draws = np.mean(draws, axis=0)
    noise = draws.std() / np.sqrt(len(draws))
    assert abs(found["map_at_r"] - draws.mean()) < 5 * noise


@pytest.mark.usefixtures("way")
def test_order_of_the_rows_does_not_matter():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 16)).astype(np.float32)[rng.integers(0, 60, size=300)]
    labels = rng.integers(0, 9, size=300)
    order = rng.permutation(300)
    first = retrieval_scores(X, labels, metrics=NAMES)
    second = retrieval_scores(X[order], labels[order], metrics=NAMES)
    assert first == pytest.approx(second, abs=1e-12)


@pytest.mark.usefixtures("way")
def test_a_sample_never_finds_itself_among_duplicates():
    X = np.repeat(np.eye(3), 2, axis=0)
    assert precision_at_1_score(X, [0, 1, 0, 1, 0, 1]) == 0
    assert precision_at_1_score(X, [0, 0, 1, 1, 2, 2]) == 1


@pytest.mark.usefixtures("way")
def test_equal_directions_tie_for_the_cosine():
    rng = np.random.default_rng(0)
    direction = rng.integers(1, 9, size=7)
    X = direction * rng.integers(1, 99, size=(40, 1))
    labels = np.arange(40) % 2
    found = precision_at_1_score(X, labels, metric="cosine")
    assert found == pytest.approx(19 / 39)


@pytest.mark.usefixtures("way")
def test_equal_distances_of_decimal_points_tie():
    rng = np.random.default_rng(0)
    grid = rng.integers(0, 5, size=(60, 3))
    labels = rng.integers(0, 4, size=60)
    expected = retrieval_scores(grid, labels, metrics=NAMES)
    assert retrieval_scores(grid / 10, labels, metrics=NAMES) == pytest.approx(expected)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("factor", [1e-300, 1e150, 1e299])
def test_scale_does_not_matter(factor):
    rng = np.random.default_rng(0)
    X, labels = rng.normal(size=(60, 3)), rng.integers(0, 6, size=60)
    assert map_at_r_score(X * factor, labels) == map_at_r_score(X, labels)


@pytest.mark.usefixtures("way")
def test_negative_zero_is_zero():
    X = np.array([[0.0], [-0.0], [0.0], [3.0], [3.0]])
    assert precision_at_1_score(X, [0, 0, 1, 1, 1]) == pytest.approx(3 / 5)


@pytest.mark.usefixtures("way")
def test_offset_costs_no_digits():
    rng = np.random.default_rng(0)
    X, labels = rng.normal(size=(60, 3)), rng.integers(0, 6, size=60)
    assert map_at_r_score(X + 1e7, labels) == pytest.approx(map_at_r_score(X, labels))


@pytest.mark.usefixtures("way")
def test_blocks_of_any_size_give_the_same():
    rng = np.random.default_rng(0)
    X, labels = rng.normal(size=(250, 8)), rng.integers(0, 20, size=250)
    whole = retrieval_scores(X, labels, metrics=NAMES)
    with config_context(working_memory=0.05):
        blocks = retrieval_scores(X, labels, metrics=NAMES)
    assert whole == pytest.approx(blocks, abs=1e-12)


@pytest.mark.usefixtures("way")
def test_values_have_the_scores_as_their_means():
    rows, labels = random_data()
    labels[4] = 99
    with pytest.warns(UserWarning, match="1 of 90"):
        values = retrieval_values(rows, labels, metrics=NAMES)
    with pytest.warns(UserWarning, match="1 of 90"):
        scores = retrieval_scores(rows, labels, metrics=NAMES)
    with pytest.warns(UserWarning, match="1 of 90"):
        by_class = retrieval_scores(rows, labels, metrics=NAMES, average="macro")
    for name in NAMES:
        assert np.flatnonzero(np.isnan(values[name])).tolist() == [4]
        assert scores[name] == pytest.approx(np.nanmean(values[name]))
        means = [values[name][labels == label].mean() for label in range(7)]
        assert by_class[name] == pytest.approx(np.mean(means))


@pytest.mark.usefixtures("way")
def test_thread_counts_stay():
    rows, labels = random_data()
    before = [(p["internal_api"], p["num_threads"]) for p in threadpool_info()]
    retrieval_scores(rows, labels)
    after = [(p["internal_api"], p["num_threads"]) for p in threadpool_info()]
    assert set(before) <= set(after)


X = np.arange(6.0)[:, None]
y = ["a", "a", "b", "b", "c", "c"]

SCORES = {
    "precision_at_1": metrics.precision_at_1_score,
    "precision_at_3": lambda *args, **kw: precision_at_k_score(*args, k=3, **kw),
    "recall_at_3": lambda *args, **kw: recall_at_k_score(*args, k=3, **kw),
    "r_precision": metrics.r_precision_score,
    "map_at_r": metrics.map_at_r_score,
    "mean_average_precision": metrics.mean_average_precision_score,
    "mean_reciprocal_rank": metrics.mean_reciprocal_rank_score,
}


@pytest.mark.parametrize("name", SCORES)
def test_agrees_with_the_joint_function(name):
    rows, labels = random_data()
    where = {"gallery": rows[25:], "gallery_labels": labels[25:]}
    plain = retrieval_scores(rows, labels, metrics=name)[name]
    assert SCORES[name](rows, labels) == plain
    for arguments, options in [
        ((rows, labels), {"metric": "cosine"}),
        ((rows, labels), {"average": "macro"}),
        ((rows, labels), {"n_classes": 3, "n_repeats": 2, "random_state": 1}),
        ((rows[:25], labels[:25]), where),
    ]:
        expected = retrieval_scores(*arguments, metrics=name, **options)[name]
        assert SCORES[name](*arguments, **options) == expected != plain


def test_defaults_of_k():
    rows, labels = random_data()
    first = metrics.precision_at_1_score(rows, labels)
    assert recall_at_k_score(rows, labels) == first
    assert precision_at_k_score(rows, labels) == first


@pytest.mark.parametrize("name", ["map_at_r", "precision_at_1", "recall_at_3"])
def test_approximate_search_reaches_the_singles(name):
    # So few different rows are searched exactly, without a compiler.
    rng = np.random.default_rng(0)
    rows, labels = points(rng, 60, spread=1), np.arange(60) % 6
    options = {"search": "approximate", "random_state": 0}
    expected = retrieval_scores(rows, labels, metrics=name, **options)[name]
    assert SCORES[name](rows, labels, **options) == expected


@pytest.mark.parametrize("k", [[1, 5, 2], (3,), range(1, 4), np.array([2, 2])])
@pytest.mark.parametrize("kind", ["precision", "recall"])
def test_several_k(kind, k):
    rows, labels = random_data()
    function = {"precision": precision_at_k_score, "recall": recall_at_k_score}[kind]
    found = function(rows, labels, k=k, average="macro")
    assert isinstance(found, np.ndarray)
    expected = [function(rows, labels, k=int(i), average="macro") for i in k]
    assert found.tolist() == expected


@pytest.mark.parametrize("function", [precision_at_k_score, recall_at_k_score])
@pytest.mark.parametrize(
    ("k", "error", "message"),
    [
        (0, ValueError, "k must be an integer >= 1, got 0"),
        (-1, ValueError, "k must be an integer >= 1, got -1"),
        (1.5, TypeError, "k must be an integer >= 1, got 1.5"),
        ("2", TypeError, "k must be an integer >= 1, got '2'"),
        (True, TypeError, "k must be an integer >= 1, got True"),
        (None, TypeError, "k must be an integer >= 1, got None"),
        ([1, True], TypeError, "k must be an integer >= 1, got True"),
        ([1, 0], ValueError, "k must be an integer >= 1, got 0"),
        ([], ValueError, r"k must hold one or more integers, got \[\]"),
        ([1, 6], ValueError, "recall_at_6|precision_at_6"),
    ],
)
def test_bad_k(function, k, error, message):
    with pytest.raises(error, match=message):
        function(X, y, k=k)


@pytest.mark.parametrize("name", SCORES)
def test_other_options_are_refused(name):
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        SCORES[name](X, y, confidence_level=0.9)
