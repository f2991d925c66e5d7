import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from torch import nn

from sk_dml import (
    ContrastiveEmbedder,
    NormalizedSoftmaxEmbedder,
    TripletEmbedder,
)
from sk_dml._training._diagnostics import (
    LARGEST_SAMPLE,
    describe_batch,
    effective_rank,
    warn_of_failures,
)
from sk_dml.losses import (
    CircleLoss,
    ContrastiveLoss,
    CrossBatchMemory,
    MarginLoss,
    MultiSimilarityLoss,
    NormalizedSoftmaxLoss,
    SNRContrastiveLoss,
    TripletLoss,
)
from tests.quick import quick

rng = np.random.default_rng(0)
LABELS = np.repeat(np.arange(4), 3)
ROWS = rng.normal(size=(12, 5)) + 1.5 * rng.normal(size=(4, 5))[LABELS]


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def describe(rows, labels, criterion=None):
    criterion = CircleLoss() if criterion is None else criterion
    return describe_batch(criterion, torch.tensor(rows), torch.tensor(labels))


# What a batch tells


def test_mean_similarity_is_over_samples_of_different_classes():
    similarities = unit(ROWS) @ unit(ROWS).T
    expected = similarities[LABELS[:, None] != LABELS].mean()
    described = describe(ROWS, LABELS)
    assert described["mean_similarity"] == pytest.approx(expected, abs=1e-6)
    assert described["batch_classes"] == 4
    assert "mean_similarity" not in describe(ROWS, np.zeros(12, dtype=int))
    order = rng.permutation(12)
    assert describe(ROWS[order], LABELS[order]) == pytest.approx(described)


@pytest.mark.parametrize("shape", [(12, 5), (5, 12), (1, 3)])
def test_effective_rank_is_that_of_the_definition(shape):
    rows = rng.normal(size=shape)
    values = np.linalg.svd(rows, compute_uv=False)
    shares = values / values.sum()
    expected = np.exp(-(shares * np.log(shares)).sum())
    assert effective_rank(rows) == pytest.approx(expected)
    assert effective_rank(3 * rows) == pytest.approx(expected)


def test_effective_rank_counts_dimensions():
    assert effective_rank(np.eye(6)) == pytest.approx(6)
    assert effective_rank(np.eye(6)[[0, 0, 1, 1]]) == pytest.approx(2)
    assert effective_rank(np.ones((4, 3))) == pytest.approx(1, abs=1e-5)
    assert effective_rank(np.zeros((4, 3))) == 0
    assert effective_rank(np.full((4, 3), np.nan)) == 0


def test_large_batches_are_looked_at_in_part():
    rows = rng.normal(size=(LARGEST_SAMPLE + 100, 3))
    labels = np.arange(len(rows)) % 7
    part = describe(rows[:LARGEST_SAMPLE], labels[:LARGEST_SAMPLE], TripletLoss())
    assert describe(rows, labels, TripletLoss()) == part


def pairs():
    return [(i, j) for i in range(12) for j in range(12) if i != j]


def distance(i, j):
    return np.linalg.norm(unit(ROWS)[i] - unit(ROWS)[j])


def share_of_pairs(pulls, pushes):
    active = [
        pulls(i, j) if LABELS[i] == LABELS[j] else pushes(i, j) for i, j in pairs()
    ]
    return np.mean(active)


def share_of_triplets(margin):
    active = [
        distance(i, j) - distance(i, k) + margin > 0
        for i, j in pairs()
        for k in range(12)
        if LABELS[i] == LABELS[j] != LABELS[k]
    ]
    return np.mean(active)


def share_of_semihard(margin):
    active = []
    for i, j in pairs():
        farther = [
            distance(i, k)
            for k in range(12)
            if LABELS[k] != LABELS[i] and distance(i, k) > distance(i, j)
        ]
        if LABELS[i] == LABELS[j] and farther:
            active.append(distance(i, j) - min(farther) + margin > 0)
    return np.mean(active)


def share_of_hard(margin):
    active = []
    for i in range(12):
        own = [distance(i, j) for j in range(12) if LABELS[j] == LABELS[i] and j != i]
        others = [distance(i, j) for j in range(12) if LABELS[j] != LABELS[i]]
        active.append(max(own) - min(others) + margin > 0)
    return np.mean(active)


def snr(i, j):
    return (unit(ROWS)[j] - unit(ROWS)[i]).var() / unit(ROWS)[i].var()


def share_of_mined(epsilon):
    similarities = unit(ROWS) @ unit(ROWS).T
    active = []
    for i, j in pairs():
        own = [
            similarities[i, k] for k in range(12) if LABELS[k] == LABELS[i] and k != i
        ]
        others = [similarities[i, k] for k in range(12) if LABELS[k] != LABELS[i]]
        if LABELS[i] == LABELS[j]:
            active.append(similarities[i, j] < max(others) + epsilon)
        else:
            active.append(similarities[i, j] > min(own) - epsilon)
    return np.mean(active)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (
            ContrastiveLoss(0.4, 1.2),
            share_of_pairs(
                lambda i, j: distance(i, j) > 0.4, lambda i, j: distance(i, j) < 1.2
            ),
        ),
        (
            SNRContrastiveLoss(0.4, 1.2),
            share_of_pairs(lambda i, j: snr(i, j) > 0.4, lambda i, j: snr(i, j) < 1.2),
        ),
        (
            MarginLoss(0.1, 0.8),
            share_of_pairs(
                lambda i, j: distance(i, j) > 0.7, lambda i, j: distance(i, j) < 0.9
            ),
        ),
        (TripletLoss(0.2, "all"), share_of_triplets(0.2)),
        (TripletLoss(0.2, "semihard"), share_of_semihard(0.2)),
        (TripletLoss(0.2, "hard"), share_of_hard(0.2)),
        (TripletLoss(0.0, "hard"), share_of_hard(0.0)),
        (MultiSimilarityLoss(epsilon=0.1), share_of_mined(0.1)),
    ],
    ids=str,
)
def test_active_share(loss, expected):
    assert 0 < expected < 1
    batch = torch.tensor(ROWS), torch.tensor(LABELS)
    assert loss.active_share(*batch) == pytest.approx(expected)
    memory = CrossBatchMemory(loss, n_features=5, memory_size=7)
    assert describe(ROWS, LABELS, memory)["active_share"] == pytest.approx(expected)


@pytest.mark.parametrize(
    "loss",
    [
        CircleLoss(),
        MultiSimilarityLoss(epsilon=None),
        CircleLoss(n_classes=4, n_features=5),
    ],
)
def test_losses_that_leave_nothing_out(loss):
    assert loss.active_share(torch.tensor(ROWS), torch.tensor(LABELS)) is None
    assert "active_share" not in describe(ROWS, LABELS, loss)
    assert "active_share" not in describe(ROWS, LABELS, NormalizedSoftmaxLoss(4, 5))


@pytest.mark.parametrize("mining", ["all", "semihard", "hard"])
def test_batches_without_a_triplet(mining):
    rows = torch.tensor(ROWS)
    for labels in (torch.zeros(12, dtype=torch.long), torch.arange(12)):
        assert TripletLoss(mining=mining).active_share(rows, labels) is None
    assert TripletLoss(mining=mining).active_share(rows[:0], labels[:0]) is None


# In training


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


def test_history_tells_of_the_last_batch(iris):
    seen = []

    class Spy(torch.optim.SGD):
        def step(self, closure=None):
            loss = super().step(closure)
            gradients = [p.grad for p in self.param_groups[0]["params"]]
            gradients += [p.grad for p in self.param_groups[1]["params"]]
            seen.append(torch.cat([g.flatten() for g in gradients]).norm().item())
            return loss

    embedder = quick(TripletEmbedder, optimizer=Spy).fit(*iris)
    norms = [row["gradient_norm"] for row in embedder.history_]
    last = np.array(seen).reshape(3, -1)[:, -1]
    np.testing.assert_allclose(norms, last, rtol=1e-5)
    for row in embedder.history_:
        assert 0 <= row["active_share"] <= 1
        assert -1 <= row["mean_similarity"] <= 1
        assert 1 <= row["effective_rank"] <= 4
    assert "active_share" not in quick().fit(*iris).history_[0]
    assert "gradient_norm" in quick(NormalizedSoftmaxEmbedder).fit(*iris).history_[0]


@pytest.mark.parametrize("norm_type", [2, np.inf])
@pytest.mark.parametrize("cls", [TripletEmbedder, NormalizedSoftmaxEmbedder])
def test_gradient_norms_are_those_before_clipping(cls, norm_type, iris):
    # At a rate of nothing both trainings have the same weights throughout.
    params = {"lr": 1e-12, "optimizer": "sgd"}
    plain = quick(cls, **params).fit(*iris)
    clip = {"gradient_clip_value": 1e-9, "gradient_clip_norm_type": norm_type}
    clipped = quick(cls, **params, net_params=clip).fit(*iris)  # and no alarm
    expected = [row["gradient_norm"] for row in plain.history_]
    assert min(expected) > 1e-3
    norms = [row["gradient_norm"] for row in clipped.history_]
    np.testing.assert_allclose(norms, expected, rtol=1e-5)


class Constant(nn.Module):
    """Nearly the same for all inputs."""

    def __init__(self, n_features, n_components):
        super().__init__()
        self.linear = nn.Linear(n_features, n_components)

    def forward(self, X):
        return 1 + 1e-3 * self.linear(X)


class Zero(Constant):
    def forward(self, X):
        return torch.relu(self.linear(X) - 1e4)


class Line(Constant):
    def forward(self, X):
        return X[:, :1] * torch.arange(1.0, 5.0) + 1e-4 * self.linear(X)


class Detached(Constant):
    def forward(self, X):
        return self.linear(X).detach() + 0 * self.linear(X)


class Apart(Constant):
    """Every class at a place of its own from the start."""

    def forward(self, X):
        places = nn.functional.one_hot((X[:, 0] > 0).long(), 4).float()
        return places + 0 * self.linear(X)


@pytest.mark.parametrize(
    ("cls", "params", "message"),
    [
        (ContrastiveEmbedder, {"module": Constant}, r"collapsed to a point: .* 1\.0"),
        (
            ContrastiveEmbedder,
            {"module": Detached},
            r"gradient is dead.*Lower lr.*change pos_margin=0\.0, neg_margin=0\.5\.$",
        ),
        (
            TripletEmbedder,
            {"module": Apart, "mining": "hard"},
            "loss was 0 in every epoch.* larger margin",
        ),
    ],
)
def test_failures_are_warned_of(cls, params, message):
    X = np.repeat([[-1.0, 0.0], [1.0, 0.1]], 20, axis=0)
    X += 0.1 * rng.normal(size=X.shape)
    with pytest.warns(UserWarning, match=message) as record:
        quick(cls, lr=1e-5, **params).fit(X, np.arange(40) // 20)
    assert len(record) == 1
    assert record[0].filename == __file__


def test_networks_that_return_zeros_are_warned_of(iris):
    embedder = quick(NormalizedSoftmaxEmbedder, module=Zero)
    with (
        pytest.warns(UserWarning, match="collapsed to a point: all rows are zero"),
        pytest.warns(UserWarning, match="gradient is dead"),
    ):
        embedder.fit(*iris)


def test_embeddings_on_a_line_are_warned_of():
    X = rng.normal(size=(80, 2))
    with pytest.warns(UserWarning, match=r"collapsed to a line.* 1\.0\d of 4"):
        quick(module=Line, lr=1e-6).fit(X, np.arange(80) % 5)


def row(**changed):
    loss = changed.get("train_loss", 0.5)
    return {
        "train_loss": loss,
        "batch_loss": loss,  # of the last batch
        "mean_similarity": 0.2,
        "effective_rank": 3.0,
        "batch_classes": 8,
        "gradient_norm": 0.1,
    } | changed


def warned(history, n_components=4):
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        warn_of_failures(history, n_components)
    return [str(warning.message) for warning in record]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({}, None),
        ({"mean_similarity": 0.98}, None),
        ({"mean_similarity": 0.995}, "collapsed to a point.*0.9950"),
        ({"effective_rank": 1.01}, "collapsed to a line"),
        ({"effective_rank": 1.01, "batch_classes": 3}, None),
        ({"gradient_norm": 1e-12}, "gradient is dead"),
        ({"gradient_norm": 1e-12, "train_loss": -0.5}, "gradient is dead"),
        ({"gradient_norm": 1e-12, "train_loss": 1e-12}, None),  # learned
        ({"gradient_norm": 0.0, "train_loss": 2e-41}, None),
        ({"gradient_norm": 0.0, "train_loss": 2e-5}, None),
        ({"gradient_norm": 0.0, "train_loss": 2e-3}, "gradient is dead"),
        ({"gradient_norm": 0.0, "train_loss": 0.0}, None),
        # The last batch has nothing left to learn, others have.
        ({"gradient_norm": 0.0, "train_loss": 0.1, "batch_loss": 0.0}, None),
    ],
)
def test_warnings_of_failures(changed, message):
    history = [row(), row(**changed), row(**changed)]
    messages = warned(history)
    assert len(messages) == (message is not None)
    if message:
        assert message.split(".*")[0] in messages[0]
        assert message.split(".*")[-1] in messages[0]
    assert not warned(history, n_components=1)
    assert not warned([{"train_loss": 0.5, "batch_loss": 0.5}])
