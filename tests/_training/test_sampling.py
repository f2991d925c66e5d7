import numpy as np
import pytest

from sk_dml._training._sampling import ClassBatches, ShuffledBatches


def class_batches(sizes, batch_size, samples_per_class, seed=0):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    labels = np.random.default_rng(1).permutation(labels)
    rng = np.random.default_rng(seed)
    return labels, ClassBatches(labels, batch_size, samples_per_class, rng)


CASES = {
    "many classes": ([7] * 50, 32, 4),
    "few classes": ([40, 50, 60], 32, 4),
    "classes smaller than K": ([1, 2, 3, 30, 30, 30, 30, 30], 16, 4),
    "one huge class": ([2, 3, 1000], 16, 4),
    "more classes than the epoch has places": ([2] * 300, 32, 8),
    "two classes fill a batch": ([9, 5], 8, 4),
    "K does not divide the classes": ([10, 11, 12, 13], 15, 5),
}
cases = pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))


@cases
def test_every_batch_is_full_and_has_k_of_each_class(case):
    sizes, batch_size, k = case
    labels, batches = class_batches(*case)
    n_drawn = 0
    for batch in batches:
        n_drawn += 1
        assert len(batch) == batch_size
        counts = np.bincount(labels[batch], minlength=len(sizes))
        assert (counts % k == 0).all()
        # As many different classes as there is room for, as evenly as possible.
        assert (counts > 0).sum() == min(len(sizes), batch_size // k)
        drawn = counts[counts > 0]
        assert drawn.max() - drawn.min() <= k
    assert n_drawn == len(batches)
    assert n_drawn >= len(labels) / batch_size


@cases
def test_samples_repeat_only_where_the_class_is_too_small(case):
    sizes = np.array(case[0])
    labels, batches = class_batches(*case)
    for batch in batches:
        counts = np.bincount(labels[batch], minlength=len(sizes))
        distinct = np.bincount(labels[np.unique(batch)], minlength=len(sizes))
        np.testing.assert_array_equal(distinct, np.minimum(counts, sizes))


@cases
def test_every_class_is_drawn_every_epoch_equally_often(case):
    sizes = case[0]
    labels, batches = class_batches(*case)
    for _ in range(3):
        drawn = np.bincount(labels[np.concatenate(list(batches))], minlength=len(sizes))
        assert drawn.min() >= case[2]
        assert drawn.max() - drawn.min() <= case[2]


def test_every_sample_comes_up_in_time():
    _, batches = class_batches([5, 50, 500], 16, 4)
    seen = set()
    for _ in range(40):
        seen.update(np.concatenate(list(batches)).tolist())
    assert len(seen) == 555


def test_pairs_of_classes_meet():
    labels, batches = class_batches([4] * 24, 16, 4)
    met = np.zeros((24, 24), dtype=int)
    for _ in range(200):
        for batch in batches:
            classes = np.unique(labels[batch])
            met[np.ix_(classes, classes)] += 1
    apart = met[~np.eye(24, dtype=bool)]
    # 200 epochs x 6 batches x 12 of 552 ordered pairs: 26 meetings on average.
    assert apart.min() > 5
    assert apart.max() < 60


def test_shuffled_batches_hold_every_sample_once():
    batches = ShuffledBatches(129, 128, np.random.default_rng(0))
    epoch = list(batches)
    assert len(epoch) == len(batches) == 2
    assert [len(batch) for batch in epoch] == [65, 64]
    assert sorted(np.concatenate(epoch)) == list(range(129))
    assert list(map(tuple, batches)) != list(map(tuple, epoch))


@pytest.mark.parametrize(("n_samples", "batch_size"), [(177, 2), (129, 128), (3, 2)])
def test_shuffled_batches_leave_no_sample_alone(n_samples, batch_size):
    batches = ShuffledBatches(n_samples, batch_size, np.random.default_rng(0))
    sizes = [len(batch) for batch in batches]
    assert sum(sizes) == n_samples
    assert min(sizes) >= 2
    assert max(sizes) <= batch_size + 1


def test_batches_come_in_no_order():
    # With one group a class, the batches dealt first hold the classes dealt first.
    labels, batches = class_batches([4] * 64, 16, 4)
    first = [tuple(np.unique(labels[next(iter(batches))])) for _ in range(50)]
    assert len(set(first)) > 40


@pytest.mark.parametrize("seed", [0, 1])
def test_seed_decides(seed):
    def draw(seed):
        return np.concatenate(list(class_batches([5] * 9, 8, 2, seed)[1]))

    np.testing.assert_array_equal(draw(seed), draw(seed))
    assert (draw(seed) != draw(seed + 1)).any()
