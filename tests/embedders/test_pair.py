"""Losses on pairs: masks, references and the cross-batch memory."""

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.utils._param_validation import InvalidParameterError

from sk_dml import CircleEmbedder, ContrastiveEmbedder, losses
from sk_dml._functional import euclidean_distances, unit_rows
from sk_dml.embedders._pair import PairEmbedder, PairLoss
from sk_dml.losses import CircleLoss, CrossBatchMemory, MarginLoss
from sk_dml.utils import all_embedders

PAIR_LOSSES = [
    getattr(losses, name)()
    for name in losses.__all__
    if issubclass(getattr(losses, name), PairLoss)
]
pair_losses = pytest.mark.parametrize(
    "loss", PAIR_LOSSES, ids=lambda loss: type(loss).__name__
)
pair_embedders = pytest.mark.parametrize(
    "cls",
    [cls for _, cls in all_embedders() if issubclass(cls, PairEmbedder)],
    ids=lambda cls: cls.__name__,
)


def random_rows(n, seed=0, n_features=5):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, n_features, generator=generator, dtype=torch.float64)


@pair_losses
def test_references_are_no_anchors_and_get_no_gradient(loss):
    loss = copy.deepcopy(loss).double()
    rows = random_rows(8).requires_grad_()
    references = random_rows(6, seed=1).requires_grad_()
    labels, others = torch.arange(8) % 3, torch.arange(6) % 4
    loss(rows, labels, references, others).backward()
    assert references.grad is None
    assert rows.grad.abs().sum() > 0
    alone = loss(rows, labels)
    assert loss(rows, labels, references[:0], others[:0]) == alone
    assert loss(rows, labels, references, others) != alone
    # In another order.
    flipped = loss(rows, labels, references.flip(0), others.flip(0))
    torch.testing.assert_close(flipped, loss(rows, labels, references, others))


# Each term of these belongs to one anchor, and every anchor has equally many.
BY_ANCHOR = [
    losses.CircleLoss(),
    losses.FastAPLoss(),
    losses.MultiSimilarityLoss(),
    losses.NCALoss(),
    losses.NPairsLoss(),
    losses.NTXentLoss(),
    losses.SmoothAPLoss(),
    losses.SupConLoss(),
]


@pytest.mark.parametrize("loss", BY_ANCHOR, ids=lambda loss: type(loss).__name__)
def test_batches_that_reference_each_other_make_up_their_union(loss):
    rows, labels = random_rows(12), torch.arange(12) % 3
    halves = [(rows[:6], labels[:6]), (rows[6:], labels[6:])]
    both = [loss(*halves[0], *halves[1]), loss(*halves[1], *halves[0])]
    torch.testing.assert_close(sum(both) / 2, loss(rows, labels))


def test_lifted_structure_with_references_counts_the_negatives_of_both_ends():
    loss = losses.LiftedStructureLoss()
    rows, labels = random_rows(4), torch.tensor([0, 1, 1, 0])
    # One anchor with one positive, a reference: its negatives are in the batch.
    distance = torch.cdist(rows[:3], rows)
    ends = torch.exp(1 - distance[0, 1:3]).sum() + torch.exp(1 - distance[1:3, 3]).sum()
    expected = (ends.log() + distance[0, 3]).clamp(min=0).square() / 2
    value = loss(rows[:3], labels[:3], rows[3:], labels[3:])
    # The other pair of the batch counts from both of its ends.
    ends = torch.exp(1 - distance[1:3, [0, 3]]).sum()
    other = (ends.log() + distance[1, 2]).clamp(min=0).square() / 2
    torch.testing.assert_close(value, (expected + 2 * other) / 3)


@pair_losses
def test_degenerate_references(loss):
    labels = torch.tensor([0, 0, 1, 1])
    for dtype in (torch.float32, torch.bfloat16):
        rows = random_rows(4).to(dtype).requires_grad_()
        copies = rows[:1].repeat(4, 1)
        for references in (rows, torch.zeros(4, 5), rows * 1e-30, copies):
            for others in (labels, labels * 0, labels + 2):
                value = loss(rows, labels, references.detach().to(dtype), others)
                (gradient,) = torch.autograd.grad(value, rows)
                assert value.isfinite()
                assert gradient.isfinite().all()


def test_wrong_references_are_refused():
    loss = CircleLoss()
    rows, labels = random_rows(4), torch.tensor([0, 0, 1, 1])
    with pytest.raises(ValueError, match=r"references must have 5 columns.*\(4, 3\)"):
        loss(rows, labels, rows[:, :3], labels)
    with pytest.raises(ValueError, match=r"reference_labels must have shape \(4,\)"):
        loss(rows, labels, rows, labels[:2])
    with pytest.raises(TypeError, match="reference_labels must be a torch tensor"):
        loss(rows, labels, rows, labels.numpy())
    for given in ({"references": rows}, {"reference_labels": labels}):
        with pytest.raises(ValueError, match="must both be given, or neither"):
            loss(rows, labels, **given)


def masks(n=4):
    """Return disjoint masks: each sample has the next one as its only positive."""
    positives = torch.eye(n).roll(1, dims=1).bool()
    return {"positives": positives, "negatives": ~positives & ~torch.eye(n).bool()}


def test_wrong_masks_are_refused():
    loss, rows = CircleLoss(), random_rows(4)
    for name in ("positives", "negatives"):
        good = masks()
        mask = good[name]
        with pytest.raises(TypeError, match=f"{name} must be a torch tensor"):
            loss(rows, **{**good, name: mask.numpy()})
        for wrong, message in (
            (
                mask.float(),
                rf"{name} must be a bool tensor of shape \(4, 4\), got .*32",
            ),
            (mask[:3], rf"{name} must be a bool tensor .*bool of shape \(3, 4\)"),
            (mask | torch.eye(4).bool(), f"The diagonal of {name} must be False"),
        ):
            with pytest.raises(ValueError, match=message):
                loss(rows, **{**good, name: wrong})
        with pytest.raises(ValueError, match=f"both be given, or neither; {name} is"):
            loss(rows, **{**good, name: None})
    both = masks()
    both["negatives"][0, 1] = True
    with pytest.raises(ValueError, match="must not share a pair, got 1 pairs in both"):
        loss(rows, **both)


def test_labels_or_masks_are_needed_and_not_both():
    loss, rows, labels = CircleLoss(), random_rows(4), torch.tensor([0, 0, 1, 1])
    with pytest.raises(TypeError, match="labels, or positives and negatives, must be"):
        loss(rows)
    with pytest.raises(ValueError, match=r"^positives and negatives replace labels:"):
        loss(rows, labels, **masks())
    with pytest.raises(ValueError, match=r"^references need labels: they cannot be"):
        loss(rows, None, rows, labels, **masks())


def test_losses_that_need_labels_refuse_masks():
    by_class = MarginLoss(learn_beta="class", n_classes=3)
    for loss in (losses.NPairsLoss(), by_class):
        with pytest.raises(ValueError, match=r"Loss\(.*\) needs labels: it cannot be"):
            loss(random_rows(4), **masks())
    needing = [type(loss).__name__ for loss in PAIR_LOSSES if loss.needs_labels]
    assert needing == ["NPairsLoss"]


def test_class_level_circle_has_no_references():
    loss = CircleLoss(n_classes=2, n_features=5).double()
    rows, labels = random_rows(4), torch.tensor([0, 0, 1, 1])
    assert loss(rows, labels) > 0
    for given in ({"references": rows}, {"reference_labels": labels}):
        with pytest.raises(ValueError, match=r"references.* must be None"):
            loss(rows, labels, **given)
    with pytest.raises(ValueError, match=r"positives and negatives must be None"):
        loss(rows, labels, **masks())
    with pytest.raises(ValueError, match=r"both be given, or neither.*n_features=None"):
        CircleLoss(n_classes=2)


def test_boundaries_of_the_classes_need_their_labels():
    loss = MarginLoss(learn_beta="class", n_classes=3).double()
    with pytest.raises(ValueError, match=r"labels must lie in 0 \.\. 2"):
        loss(random_rows(4), torch.tensor([0, 1, 2, 3]))


def test_memory_is_a_queue_of_the_latest_samples():
    memory = CrossBatchMemory(CircleLoss(), n_features=5, memory_size=5)
    rows = random_rows(12).float()
    for start in range(0, 12, 3):
        memory(rows[start : start + 3], torch.arange(start, start + 3))
    assert sorted(memory.memory_labels.tolist()) == [7, 8, 9, 10, 11]
    for row, label in zip(memory.memory, memory.memory_labels, strict=True):
        assert torch.equal(row, rows[label])
    # A batch larger than the memory leaves its last samples.
    memory(rows, torch.arange(12))
    assert sorted(memory.memory_labels.tolist()) == [7, 8, 9, 10, 11]


@pair_losses
def test_value_with_memory(loss):
    memory = CrossBatchMemory(loss, 5, memory_size=20, warm_up=8)
    batches = [random_rows(8, seed).float() for seed in range(3)]
    labels = torch.arange(8) % 3
    first, second, third = (memory(rows, labels) for rows in batches)
    assert first == loss(batches[0], labels)
    with_first = loss(batches[1], labels, batches[0], labels)
    torch.testing.assert_close(second, loss(batches[1], labels) + with_first)
    both = torch.cat(batches[:2]), labels.repeat(2)
    with_both = loss(batches[2], labels, *both)
    torch.testing.assert_close(third, loss(batches[2], labels) + with_both)


def test_wrong_arguments_of_the_memory_are_refused():
    with pytest.raises(TypeError, match=r"compare the samples.*got SoftmaxLoss"):
        CrossBatchMemory(losses.SoftmaxLoss(3, 5), 5, memory_size=9)
    class_level = CircleLoss(n_classes=3, n_features=5)
    with pytest.raises(ValueError, match=r"no proxies, got CircleLoss\(.*n_classes=3"):
        CrossBatchMemory(class_level, 5, memory_size=9)
    sizes = {"n_features": 5, "memory_size": 9, "warm_up": 0}
    for name, lowest in {"n_features": 1, "memory_size": 1, "warm_up": 0}.items():
        with pytest.raises(
            ValueError, match=f"{name} == {lowest - 1}, must be >= {lowest}"
        ):
            CrossBatchMemory(CircleLoss(), **{**sizes, name: lowest - 1})
        with pytest.raises(TypeError, match=f"{name} must be an instance of"):
            CrossBatchMemory(CircleLoss(), **{**sizes, name: 2.5})
    memory = CrossBatchMemory(CircleLoss(), 5, memory_size=9)
    with pytest.raises(ValueError, match=r"must have 5 columns.*\(4, 3\)"):
        memory(random_rows(4)[:, :3], torch.tensor([0, 0, 1, 1]))


@pair_losses
def test_memory_leaves_out_rows_that_are_not_finite(loss):
    memory = CrossBatchMemory(loss, 5, memory_size=20)
    labels = torch.arange(8) % 3
    rows = random_rows(8).float()
    rows[2, 1], rows[5, 0] = torch.nan, torch.inf
    assert not memory(rows, labels).isfinite()
    assert memory.n_seen == 6
    rows = random_rows(8, seed=1).float().requires_grad_()
    value = memory(rows, labels)
    value.backward()
    assert value.isfinite()
    assert rows.grad.isfinite().all()


@pair_losses
def test_copies_in_the_references_are_at_no_distance(loss):
    # More columns than a product sums in one go.
    rows = random_rows(64, n_features=300).float()
    labels = torch.arange(64)
    if type(loss).__name__ in ("ContrastiveLoss", "TripletLoss", "MarginLoss"):
        alone = unit_rows(rows)
        distances = euclidean_distances(alone, torch.cat([alone, alone]))
        assert (distances.diagonal() == 0).all()
        assert (distances[:, 64:].diagonal() == 0).all()
    assert loss(rows, labels, rows, labels).isfinite()


def test_memory_rests_in_evaluation_mode():
    memory = CrossBatchMemory(CircleLoss(), 5, memory_size=20).eval()
    rows, labels = random_rows(8).float(), torch.arange(8) % 3
    assert memory(rows, labels) == memory(rows, labels)
    assert memory.n_seen == 0


@pytest.mark.parametrize("way", ["state dict", "pickle", "copy"])
def test_memory_survives_a_checkpoint(way):
    memory = CrossBatchMemory(CircleLoss(), 5, memory_size=7, warm_up=4)
    rows, labels = random_rows(24).float(), torch.arange(24) % 4
    for start in range(0, 12, 4):
        memory(rows[start : start + 4], labels[start : start + 4])
    if way == "state dict":
        other = CrossBatchMemory(CircleLoss(), 5, memory_size=7, warm_up=4)
        other.load_state_dict(memory.state_dict())
    else:
        other = (
            copy.deepcopy(memory)
            if way == "copy"
            else pickle.loads(pickle.dumps(memory))
        )
    for start in range(12, 24, 4):
        batch = rows[start : start + 4], labels[start : start + 4]
        assert memory(*batch) == other(*batch)
    assert torch.equal(memory.memory, other.memory)
    assert memory.n_seen == other.n_seen == 24


X = np.random.default_rng(0).normal(size=(60, 4))
y = np.arange(60) % 5
SMALL = {"module__hidden": (16,)}


@pair_embedders
def test_embedders_train_with_memory(cls):
    params = {"max_epochs": 3, "random_state": 0, "net_params": SMALL}
    with_memory = cls(memory_size=40, **params).fit(X, y)
    criterion = with_memory.net_.criterion_
    assert isinstance(criterion, CrossBatchMemory)
    assert criterion.warm_up == 90
    assert criterion.n_seen >= 120
    assert criterion.memory.abs().sum(1).min() > 0
    restored = pickle.loads(pickle.dumps(with_memory))
    assert restored.net_.criterion_.n_seen == criterion.n_seen
    assert torch.equal(restored.net_.criterion_.memory, criterion.memory)
    assert not np.allclose(with_memory.transform(X), cls(**params).fit_transform(X, y))


def test_memory_parameters():
    for name in ("memory_size", "memory_warm_up"):
        with pytest.raises(InvalidParameterError, match=f"'{name}'"):
            CircleEmbedder(**{name: -1}).fit(X, y)
    with pytest.raises(InvalidParameterError, match=r"'memory_warm_up'.*\[0.0, 1.0\)"):
        CircleEmbedder(memory_warm_up=1).fit(X, y)
    with pytest.raises(ValueError, match=r"memory_size=9 needs supervision='pair'"):
        CircleEmbedder(memory_size=9, supervision="class").fit(X, y)


def test_memory_takes_part_after_the_warm_up():
    params = {"max_epochs": 4, "random_state": 0}
    plain = ContrastiveEmbedder(**params).fit(X, y)
    for share in (0, 0.5):
        embedder = ContrastiveEmbedder(memory_size=40, memory_warm_up=share, **params)
        curve = embedder.fit(X, y).loss_curve_
        first = int(share * 4)
        assert curve[:first] == plain.loss_curve_[:first]
        assert curve[first] > plain.loss_curve_[first]


def test_class_level_circle_needs_no_second_sample():
    labels = y.copy()
    labels[:2] = [7, 8]
    embedder = CircleEmbedder(
        supervision="class", samples_per_class=None, max_epochs=2, random_state=0
    ).fit(X, labels)
    assert embedder.net_.criterion_.proxies.shape == (7, 64)
    assert embedder.transform(X).shape == (60, 64)
