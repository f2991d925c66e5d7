import pickle

import numpy as np
import pytest
import torch
from skorch.callbacks import BatchScoring, Callback, Checkpoint, EpochScoring
from skorch.exceptions import SkorchTrainingImpossibleError
from torch.utils.data import TensorDataset

from sk_dml import NormalizedSoftmaxEmbedder, metrics
from sk_dml._training._callbacks import OwnCallback
from sk_dml._training._net import EmbeddingNet
from sk_dml.losses import NormalizedSoftmaxLoss
from tests._training import small
from tests._training.small import embedder


def make_net(**params):
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4))
    settings = {
        "criterion": NormalizedSoftmaxLoss(2, 4),
        "optimizer": torch.optim.AdamW,
        "batch_size": 4,
        "max_epochs": 3,
        "train_split": None,
        "lr": 0.01,
        "verbose": 0,
        **params,
    }
    return EmbeddingNet(module, **settings)


@pytest.fixture(autouse=True)
def keep_global_generator():
    state = torch.get_rng_state()
    yield
    torch.set_rng_state(state)


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(10, 3)).astype(np.float32), np.arange(10) % 2


def test_parameter_groups(data):
    net = make_net(weight_decay=0.3, proxy_lr=0.5).initialize()
    weights, spared, proxies = net.optimizer_.param_groups
    assert [p.shape for p in weights["params"]] == [(4, 3)]
    assert (weights["weight_decay"], weights["lr"]) == (0.3, 0.01)
    assert [p.shape for p in spared["params"]] == [(4,)] * 3
    assert (spared["weight_decay"], spared["lr"]) == (0, 0.01)
    assert proxies["params"] == [net.criterion_.proxies]
    assert (proxies["weight_decay"], proxies["lr"]) == (0, 0.5)


def test_one_cycle_of_learning_rates(data):
    rates = []

    class Spy(torch.optim.AdamW):
        def step(self, closure=None):
            rates.append([group["lr"] for group in self.param_groups])
            return super().step(closure)

    make_net(optimizer=Spy, lr_schedule="onecycle", proxy_lr=0.1, max_epochs=10).fit(
        *data
    )
    network, proxies = np.array(rates).T
    assert len(network) == 30
    assert network.max() == pytest.approx(0.01, rel=0.05)
    assert 5 <= network.argmax() <= 12
    assert network[-1] < 1e-6
    np.testing.assert_allclose(proxies, 10 * network)


def test_history_has_the_mean_over_the_samples(data):
    X, y = data
    net = make_net(batch_size=7, max_epochs=1)
    net.fit(X, y)
    batches = net.history[-1]["batches"]
    sizes = [batch["train_batch_size"] for batch in batches]
    assert sizes == [5, 5]
    mean = np.average([batch["train_loss"] for batch in batches], weights=sizes)
    assert net.history[-1]["train_loss"] == pytest.approx(mean)


def test_batches_of_past_epochs_are_forgotten(data):
    net = make_net()
    net.fit(*data)
    assert ["batches" in row for row in net.history] == [False, False, True]


def test_embeds_in_batches_without_gradient_or_dropout(data):
    X, _ = data
    net = make_net(iterator_valid__batch_size=3).initialize()
    state = torch.get_rng_state()
    embedding = net.embed(X)
    assert torch.equal(torch.get_rng_state(), state)
    assert embedding.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1, rtol=1e-6)
    with torch.no_grad():
        whole = torch.nn.functional.normalize(net.module_(torch.from_numpy(X)))
    np.testing.assert_allclose(embedding, whole.numpy(), rtol=1e-5)


def test_mps_gets_no_float64(data):
    X, y = data
    net = make_net(device="mps", iterator_train__num_workers=1)  # nothing moves there
    dataset = net.get_dataset(X.astype(np.float64), y)
    assert dataset.X.dtype == np.float32
    dataset = make_net().get_dataset(X.astype(np.float64), y)
    assert dataset.X.dtype == np.float64


def test_skorch_workers_serve_batches(data):
    plain, workers = make_net(), make_net(iterator_train__num_workers=1)
    plain.fit(*data)
    workers.fit(*data)
    np.testing.assert_array_equal(plain.embed(data[0]), workers.embed(data[0]))


# The list of callbacks


class Listener(Callback):
    def __init__(self, name, heard, stops=False):
        self.name, self.heard, self.stops = name, heard, stops

    def on_epoch_end(self, net, **kwargs):
        self.heard.append((self.name, {*net.history[-1]}))
        if self.stops:
            net.stop()


class OwnListener(Listener, OwnCallback):
    pass


def test_all_are_called_in_order_and_own_ones_go_with_the_training(data):
    heard = []
    net = make_net(callbacks=[Listener("user", heard)], max_epochs=1).initialize()
    before = [OwnListener("before", heard), None]
    net.add_callbacks(before, [OwnListener("after", heard), None])
    names = [name for name, _ in net.callbacks_]
    assert names == [
        "sk_dml.Record",
        "sk_dml.OwnListener",
        "sk_dml.MoveRates",
        "Listener",
        "sk_dml.UsersDone",
        "sk_dml.OwnListener",
    ]
    pickled = pickle.loads(pickle.dumps(net))
    net.partial_fit(*data)
    assert [name for name, _ in heard] == ["before", "user", "after"]
    assert "train_loss" in heard[0][1]
    assert "duration" not in heard[0][1]
    assert "duration" in heard[1][1]
    for of_training in net, pickled:
        kept = [name for name, _ in of_training.callbacks_]
        assert kept == ["sk_dml.Record", "sk_dml.MoveRates", "Listener"]
    net.partial_fit(*data)
    assert [name for name, _ in heard[3:]] == ["user"]


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
def test_own_callbacks_are_closed_and_go_however_the_training_ends(error, data):
    closed = []

    class Failing(OwnCallback):
        def on_batch_end(self, net, **kwargs):
            if error is not None:
                raise error

        def close(self):
            closed.append(1)

    net = make_net().initialize()
    net.add_callbacks([], [Failing()])
    if error is RuntimeError:
        with pytest.raises(RuntimeError):
            net.partial_fit(*data)
    else:
        net.partial_fit(*data)
    assert closed == [1]
    assert len(net.callbacks_) == 2
    assert net.schedule_ is None
    assert net.interrupted_ == (error is not None)


@pytest.mark.parametrize("place", ["before", "user", "after"])
def test_all_hear_of_the_epoch_in_which_one_stops(place, data):
    heard = []
    net = make_net(callbacks=[Listener("user", heard, place == "user")]).initialize()
    for _ in range(2):
        own = [OwnListener(name, heard, place == name) for name in ("before", "after")]
        net.add_callbacks(own[:1], own[1:])
        net.partial_fit(*data)
        assert net.stopped_
        assert not net.interrupted_
    assert [name for name, _ in heard] == 2 * ["before", "user", "after"]
    assert len(net.history) == 2


class Pickler(Callback):
    def __init__(self, X, kept):
        self.X, self.kept = X, kept

    def on_epoch_end(self, net, **kwargs):
        self.kept.append((net.snapshot(), net.embed(self.X)))

    def __getstate__(self):
        return {}


class Holder(OwnCallback):
    """Holds what cannot be pickled."""

    scorer = staticmethod(lambda *_: 0.5)

    def __init__(self, X):
        self.X, self.function = X, lambda: 0


def test_pickles_of_a_training_leave_its_data_out(data):
    kept = []
    net = make_net(callbacks=[Pickler(data[0], kept)], max_epochs=1).initialize()
    net.add_callbacks([Holder(data[0])], [])
    net.partial_fit(*data)
    ((snapshot, embedding),) = kept
    assert len(snapshot.callbacks_) == 3
    restored = pickle.loads(pickle.dumps(snapshot))
    np.testing.assert_array_equal(restored.embed(data[0]), embedding)


# As users of skorch expect


@pytest.fixture(scope="module")
def fitted():
    return embedder().fit(small.X, small.y)


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_predictions_are_the_rows_of_transform(method, fitted):
    predict, expected = getattr(fitted.net_, method), fitted.transform(small.X)
    rows, labels = torch.from_numpy(small.X), torch.from_numpy(small.y)
    torch_state = torch.get_rng_state()
    for samples in (
        small.X,
        rows,
        TensorDataset(rows, labels),
        fitted.net_.get_dataset(small.X, small.y),
    ):
        embedding = predict(samples)
        assert embedding.dtype == np.float32
        np.testing.assert_array_equal(embedding, expected)
    assert torch.equal(torch.get_rng_state(), torch_state)


def silhouette(net, X, y):
    return float(metrics.map_at_r_score(net.predict_proba(X), y))


@pytest.mark.parametrize("scoring", [EpochScoring, BatchScoring])
@pytest.mark.parametrize("use_caching", [True, False])
def test_scores_of_training_samples(scoring, use_caching):
    callback = scoring(
        silhouette,
        on_train=True,
        use_caching=use_caching,
        name="score",
        lower_is_better=False,
    )
    scored = embedder(callbacks=[callback]).fit(small.X, small.y)
    scores = scored.net_.history[:, "score"]
    assert len(scores) == 3
    assert all(0 < score <= 1 for score in scores)
    if scoring is EpochScoring and not use_caching:
        expected = metrics.map_at_r_score(scored.transform(small.X), small.y)
        assert scores[-1] == expected
    plain = embedder().fit(small.X, small.y)
    np.testing.assert_array_equal(scored.transform(small.X), plain.transform(small.X))


def test_cached_scores_are_of_the_batches_of_the_epoch():
    seen = []

    def score(net, X, y):
        seen.append((net.predict_proba(X), y))
        return 0.0

    callback = EpochScoring(score, on_train=True, name="score")
    params = {"samples_per_class": None, "max_epochs": 1, "callbacks": [callback]}
    embedder(NormalizedSoftmaxEmbedder, **params).fit(small.X, small.y)
    ((rows, labels),) = seen
    assert rows.shape == (40, 64)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    assert sorted(labels) == sorted(small.y)


def test_history_says_which_epochs_improved(tmp_path):
    scores = iter([0.5, 0.4, 0.6, 0.6])
    saved = []

    class Spy(Checkpoint):
        def save_model(self, net):
            saved.append(len(net.history))
            super().save_model(net)

    best = Spy(monitor="valid_score_best", dirname=str(tmp_path))
    scored = embedder(callbacks=[best], max_epochs=4, scoring=lambda *_: next(scores))
    history = scored.fit(small.X, small.y, validation_data=(small.X, small.y)).net_
    history = history.history
    assert history[:, "valid_score_best"] == [True, False, True, False]
    assert saved == [1, 3]
    losses = history[:, "train_loss"]
    expected = [loss < min([np.inf, *losses[:i]]) for i, loss in enumerate(losses)]
    assert history[:, "train_loss_best"] == expected
    assert all(type(row["train_loss_best"]) is bool for row in history)
    assert "train_loss_best" not in scored.history_[0]


def test_ctrl_c_is_no_stop_in_a_net_that_is_trained_directly(data):
    class Interrupt(Callback):
        def on_batch_end(self, net, **kwargs):
            if len(net.history) == 2:
                raise KeyboardInterrupt

    net = make_net(callbacks=[Interrupt()]).fit(*data)
    assert net.interrupted_
    assert not net.stopped_


def test_no_step_outside_of_a_training(fitted, data):
    batch = torch.from_numpy(small.X), torch.from_numpy(small.y)
    for net in fitted.net_, make_net().fit(*data):
        with pytest.raises(SkorchTrainingImpossibleError, match="train_step is a part"):
            net.train_step(batch)


def test_no_training_after_trimming(fitted):
    trimmed = pickle.loads(pickle.dumps(fitted))
    trimmed.net_.trim_for_prediction()
    for train in trimmed.partial_fit, trimmed.net_.partial_fit:
        with pytest.raises(SkorchTrainingImpossibleError, match="trimmed for predict"):
            train(small.X, small.y)
        with pytest.raises(SkorchTrainingImpossibleError, match="trimmed for predict"):
            trimmed.set_params(warm_start=True).fit(small.X, small.y)
    np.testing.assert_array_equal(trimmed.transform(small.X), fitted.transform(small.X))


# Copies


@pytest.mark.parametrize("compiled", [False, True])
def test_snapshot_stays_as_it_is(compiled, data):
    net = make_net(lr=0.1, max_epochs=1).fit(*data)
    before = net.embed(data[0])
    if compiled:  # only wrapped; it would be compiled when called
        net.module_ = torch.compile(net.module_)
    snapshot = net.snapshot()
    net.module_ = getattr(net.module_, "_orig_mod", net.module_)
    net.partial_fit(*data)
    assert np.abs(net.embed(data[0]) - before).max() > 1e-3
    np.testing.assert_array_equal(snapshot.embed(data[0]), before)
    assert (len(snapshot.history), len(net.history)) == (1, 2)
    restored = pickle.loads(pickle.dumps(snapshot))
    np.testing.assert_array_equal(restored.embed(data[0]), before)
