import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from torch.optim.lr_scheduler import OneCycleLR

from sk_dml import CircleEmbedder
from sk_dml._training._optimizer import SCHEDULES, Schedule


def make_optimizer(rates=(0.1, 2.0)):
    groups = [{"params": [torch.nn.Parameter(torch.ones(1))], "lr": r} for r in rates]
    return torch.optim.SGD(groups)


def rates_of(name, n_batches=4, n_epochs=10, losses=None, scores=None, **settings):
    """Return the rates of the first group, step by step, as multiples of its own."""
    optimizer = make_optimizer()
    schedule = Schedule(name, optimizer, n_batches, n_epochs, **settings)
    rates = []
    for epoch in range(n_epochs):
        for _ in range(n_batches):
            first, second = (group["lr"] for group in optimizer.param_groups)
            assert second == pytest.approx(20 * first)
            rates.append(first / 0.1)
            optimizer.step()
            schedule.step()
        row = {"train_loss": 1.0 if losses is None else losses[epoch]}
        if schedule.plateau is not None:
            schedule.end_epoch(
                row | ({} if scores is None else {"valid_score": scores[epoch]})
            )
    return np.array(rates)


@pytest.mark.parametrize(("warmup", "share"), [(None, 0.3), (5, 0.5), (0, 0.0)])
def test_onecycle_is_that_of_torch(warmup, share):
    settings = {} if warmup is None else {"warmup": warmup}
    rates = rates_of("onecycle", **settings)
    if share:
        optimizer = make_optimizer()
        cycle = OneCycleLR(
            optimizer, [0.1, 2.0], total_steps=40, pct_start=share, cycle_momentum=False
        )
        expected = []
        for _ in range(40):
            expected.append(optimizer.param_groups[0]["lr"] / 0.1)
            optimizer.step()
            if len(expected) < 40:
                cycle.step()
        np.testing.assert_allclose(rates, expected, rtol=1e-9)
    else:
        assert (np.diff(rates) < 0).all()
        assert rates[0] == pytest.approx(1, abs=0.01)


def test_cosine_falls_to_nothing():
    rates = rates_of("cosine")
    expected = (1 + np.cos(np.pi * np.arange(40) / 40)) / 2
    np.testing.assert_allclose(rates, expected)


def test_step_as_in_softtriple():
    rates = rates_of("step", n_epochs=50)
    np.testing.assert_allclose(rates, np.repeat([1, 0.1, 0.01], [80, 80, 40]))
    rates = rates_of("step", step_size=2.5, gamma=0.5)
    np.testing.assert_allclose(rates, np.repeat([1, 0.5, 0.25, 0.125], 10))


@pytest.mark.parametrize("name", [None, "cosine", "step", "plateau"])
def test_warm_up_is_linear_in_steps(name):
    rates = rates_of(name, warmup=1.5)
    np.testing.assert_allclose(rates[:6], np.arange(1, 7) / 6)
    assert rates[6] == 1
    assert rates.max() == 1


@pytest.mark.parametrize("shift", [0, -6, -100])  # of scores, which may be below 0
@pytest.mark.parametrize("name", ["scores", "losses"])
def test_plateau_follows_the_score_or_else_the_loss(name, shift):
    values = np.array([5, 6, 6, 6, 6, 7, 7, 7, 7, 7]) + shift
    watched = {"losses": -values}
    if name == "scores":
        watched = {"scores": values, "losses": range(10)}
    rates = rates_of("plateau", patience=2, factor=0.5, **watched)
    # Better in epochs 2 and 6; after three more epochs without, half the rate.
    expected = np.repeat([1, 0.5, 0.25], [20, 16, 4])
    np.testing.assert_allclose(rates, expected)


def test_plateau_with_a_warm_up():
    rates = rates_of("plateau", 4, 4, warmup=2, patience=0, factor=0.5, losses=[1] * 4)
    rise = np.minimum(np.arange(1, 17) / 8, 1)
    np.testing.assert_allclose(rates, rise * np.repeat([1, 1, 0.5, 0.25], 4))


def test_plateau_takes_nan_for_no_improvement():
    rates = rates_of("plateau", patience=1, scores=[1.0] + [math.nan] * 9)
    assert rates[-1] == pytest.approx(1e-4)


def test_epochs_before_the_schedule_do_not_count():
    optimizer = make_optimizer()
    schedule = Schedule("plateau", optimizer, 4, 2, patience=0)
    schedule.end_epoch({"train_loss": -1.0})
    assert schedule.plateau.best == -math.inf
    optimizer.step()
    schedule.step()
    schedule.end_epoch({"train_loss": 1.0})
    assert schedule.plateau.best == -1.0


def test_constant_rates_are_left_to_others():
    optimizer = make_optimizer()
    schedule = Schedule(None, optimizer, 4, 2)
    optimizer.param_groups[0]["lr"] = 7.0
    schedule.step()
    assert optimizer.param_groups[0]["lr"] == 7.0


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_state_continues(name):
    def train(schedule, optimizer, epochs):
        rates = []
        for loss in epochs:
            for _ in range(3):
                optimizer.step()
                schedule.step()
                rates.append([group["lr"] for group in optimizer.param_groups])
            if schedule.plateau is not None:
                schedule.end_epoch({"train_loss": float(loss)})
        return rates

    settings = {"patience": 0} if name == "plateau" else {"warmup": 1}
    losses = [3, 3, 2, 2, 2, 2]
    optimizer = make_optimizer()
    whole = train(Schedule(name, optimizer, 3, 6, **settings), optimizer, losses)
    optimizer = make_optimizer()
    first = Schedule(name, optimizer, 3, 6, **settings)
    rates = train(first, optimizer, losses[:3])
    again = make_optimizer()
    again.load_state_dict(optimizer.state_dict())
    second = Schedule(name, again, 3, 6, **settings)
    second.load_state_dict(first.state_dict())
    assert rates + train(second, again, losses[3:]) == whole


@pytest.mark.parametrize("schedule", [None, *SCHEDULES])
def test_trains(schedule):
    X, y = load_iris(return_X_y=True)
    params = {"lr_schedule__warmup": 0.5}
    embedder = CircleEmbedder(
        max_epochs=4, lr_schedule=schedule, net_params=params, random_state=0
    ).fit(X, y)
    assert embedder.loss_curve_[-1] < embedder.loss_curve_[0]


def test_plateau_lowers_the_rates_of_a_training():
    X, y = load_iris(return_X_y=True)
    params = {"lr_schedule__patience": 0, "lr_schedule__factor": 0.5}
    embedder = CircleEmbedder(
        max_epochs=4, lr=1e-15, lr_schedule="plateau", net_params=params, random_state=0
    ).fit(X, y)
    # At this rate no epoch but by chance is better than the first.
    bests = np.minimum.accumulate(embedder.loss_curve_)
    n_better = int((np.diff(bests[:3]) < 0).sum())
    rate = embedder.net_.optimizer_.param_groups[0]["lr"]
    assert rate == pytest.approx(1e-15 * 0.5 ** (2 - n_better))


@pytest.mark.parametrize(
    ("schedule", "params", "message"),
    [
        ("cosine", {"gamma": 0.5}, r"lr_schedule__gamma=0.5.*'cosine' does not take"),
        ("step", {"stepsize": 5}, "Allowed are.*'lr_schedule__step_size'"),
        ("step", {"step_size": 0}, r"step_size=0; allowed is a float in the range"),
        ("step", {"gamma": 1.5}, r"gamma=1.5; allowed is a float in the range \(0"),
        ("plateau", {"patience": 1.5}, "patience=1.5; allowed is an int"),
        ("plateau", {"factor": True}, "factor=True; allowed is"),
        ("cosine", {"warmup": 3}, "warmup=3; allowed are epochs below max_epochs=3"),
        (None, {"step_size": 3}, "lr_schedule=None does not take"),
    ],
)
def test_bad_settings(schedule, params, message):
    X, y = load_iris(return_X_y=True)
    params = {f"lr_schedule__{name}": value for name, value in params.items()}
    embedder = CircleEmbedder(max_epochs=3, lr_schedule=schedule, net_params=params)
    with pytest.raises(ValueError, match=message):
        embedder.fit(X, y)
