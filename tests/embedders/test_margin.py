import pytest
import torch

from sk_dml.losses import MarginLoss


def rows_at(*angles):
    angles = torch.tensor(angles, dtype=torch.float64)
    return torch.stack([angles.cos(), angles.sin(), 0 * angles], dim=1)


def test_boundary_moves_to_where_both_kinds_are_in_balance():
    # Positives at 1.2 and negatives at 0.4 overlap: the boundary moves to whom the
    # fewer terms belong.
    generator = torch.Generator().manual_seed(0)
    rows = torch.nn.functional.normalize(torch.randn(40, 8, generator=generator))
    labels = torch.arange(40) % 8
    for first in (0.3, 1.9):
        loss = MarginLoss(beta=first)
        optimizer = torch.optim.SGD(loss.parameters(), lr=0.05)
        for _ in range(400):
            optimizer.zero_grad()
            loss(rows, labels).backward()
            optimizer.step()
        loss(rows, labels).backward()
        assert loss.beta.item() == pytest.approx(1.24, abs=0.1)


def test_gradient_of_the_boundary_is_the_share_of_negatives_less_that_of_positives():
    # Of the first class, a positive at 0.8; the negatives are near, or far away.
    loss = MarginLoss(beta=0.9, margin=0.2)
    labels = torch.tensor([0, 0, 1, 1])
    for angles, expected in {
        (0.0, 0.8, 3.0, 3.1): -1.0,  # one class too wide
        (0.0, 0.1, 0.2, 0.3): 1.0,  # negatives too near
        (0.0, 0.9, 0.0, 0.9): 0.0,  # as many of both
    }.items():
        loss.zero_grad()
        loss(rows_at(*angles), labels).backward()
        assert loss.beta.grad.item() == pytest.approx(expected, abs=1e-6)


def test_negatives_beyond_the_cut_off_are_not_drawn():
    loss = MarginLoss(beta=1.5, margin=0.4)
    rows = rows_at(0.0, 0.0, 1.6, 1.6).requires_grad_()  # negatives at 1.43
    loss(rows, torch.tensor([0, 0, 1, 1])).backward()
    assert rows.grad.abs().max() == 0


def test_boundaries_of_the_classes_need_their_number():
    with pytest.raises(ValueError, match="n_classes must be given for learn_beta"):
        MarginLoss(learn_beta="class")
