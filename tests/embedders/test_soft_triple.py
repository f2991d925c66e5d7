import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError

from sk_dml import SoftTripleEmbedder
from sk_dml.losses import SmoothAPLoss, SoftTripleLoss

X, y = load_digits(return_X_y=True)


def test_number_of_centers_falls_with_tau():
    def count(tau):
        embedder = SoftTripleEmbedder(
            8, n_centers=4, tau=tau, max_epochs=8, random_state=0
        )
        return embedder.fit(X, y).n_centers_

    assert count(0.0).tolist() == [4] * 10
    assert count(50.0).mean() < 2


def test_number_of_centers_counts_groups():
    embedder = SoftTripleEmbedder(2, n_centers=4, max_epochs=1, random_state=0)
    assert not hasattr(embedder, "n_centers_")
    with pytest.raises(NotFittedError):
        embedder.n_centers_  # noqa: B018
    embedder.fit(X[:60], y[:60] % 2)
    angles = np.array([[0.0, 0.05, 0.1, 0.15], [0.0, 0.05, 3.0, 1.5]])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=2)
    with torch.no_grad():  # of any length
        embedder.net_.criterion_.proxies.copy_(torch.tensor(rows * 7))
    assert embedder.n_centers_.tolist() == [1, 3]


@pytest.mark.parametrize("loss", [SoftTripleLoss(3, 4), SmoothAPLoss()])
def test_second_derivatives_are_refused(loss):
    rows = torch.eye(4, requires_grad=True)
    value = loss(rows, torch.tensor([0, 1, 2, 0]))
    with pytest.raises(RuntimeError, match="has no second derivatives"):
        torch.autograd.grad(value, rows, create_graph=True)
