import numpy as np
import torch

from sk_dml.losses import CenterLoss, SoftmaxLoss


def test_centers_move_as_in_the_paper():
    loss = CenterLoss(3, 4, center_lr=0.7).double()
    generator = torch.Generator().manual_seed(0)
    centers = np.zeros((3, 4))
    for _ in range(3):
        rows = torch.randn(7, 4, generator=generator, dtype=torch.float64)
        labels = torch.tensor([0, 0, 2, 0, 2, 0, 0])
        loss(rows, labels).backward()
        for j in (0, 2):
            members = rows.numpy()[labels == j]
            step = sum(centers[j] - row for row in members) / (1 + len(members))
            centers[j] -= 0.7 * step
        np.testing.assert_allclose(loss.centers.numpy(), centers)
    assert not loss.centers[1].any()  # no sample of this class came


def test_centers_converge_to_the_class_means():
    loss = CenterLoss(2, 3)
    rows = torch.tensor([[1.0, 2, 3], [3.0, 2, 1], [5.0, 5, 5]])
    for _ in range(60):
        loss(rows, torch.tensor([0, 0, 1]))
    torch.testing.assert_close(loss.centers, torch.tensor([[2.0, 2, 2], [5.0, 5, 5]]))


def test_centers_rest_in_evaluation_mode():
    loss = CenterLoss(2, 3).eval()
    loss(torch.ones(2, 3), torch.tensor([0, 1]))
    assert not loss.centers.any()


def test_without_weight_it_is_a_classifier():
    center, softmax = CenterLoss(2, 3, weight=0.0), SoftmaxLoss(2, 3)
    softmax.load_state_dict(dict(center.named_parameters()))
    rows, labels = torch.eye(3)[:2], torch.tensor([0, 1])
    assert center(rows, labels) == softmax(rows, labels)
