"""Properties that every loss must have."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sk_dml import losses
from tests.embedders.oracles import N_CLASSES, N_FEATURES
from tests.embedders.pair_oracles import PAIR_METHODS
from tests.embedders.proxy_oracles import PROXY_METHODS

METHODS = [*PAIR_METHODS, *PROXY_METHODS]

all_methods = pytest.mark.parametrize("method", METHODS, ids=str)
proxy_methods = pytest.mark.parametrize(
    "method", [method for method in METHODS if method.has_proxies], ids=str
)
methods_of_any_classes = pytest.mark.parametrize(
    "method",
    [m for m in METHODS if not m.has_proxies and "n_classes" not in m.arguments],
    ids=str,
)
mask_methods = pytest.mark.parametrize(
    "method", [m for m in PAIR_METHODS if not m.make().needs_labels], ids=str
)
# Checks of the arguments are shared code: a pair loss, a proxy loss, a learned loss.
REPRESENTATIVES = {"CircleLoss", "NormalizedSoftmaxLoss", "MarginLoss"}
some_methods = pytest.mark.parametrize(
    "method", [m for m in METHODS if m.name in REPRESENTATIVES], ids=str
)


def make_batch(seed, n=14):
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(n, N_FEATURES, generator=generator, dtype=torch.float64)
    # Two samples of every class and more of some, in no order.
    labels = torch.arange(n) % (2 * N_CLASSES) % N_CLASSES
    return embeddings, labels[torch.randperm(n, generator=generator)]


def make_loss(method, seed=0, dtype=torch.float64):
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return method.make().to(dtype).eval()


def unit(array):
    return array / np.linalg.norm(array, axis=-1, keepdims=True)


def expected_value(method, loss, embeddings, *labels):
    """Return the oracle's value, for labels or for two masks."""
    rows = embeddings.numpy()
    state = {name: value.numpy() for name, value in loss.state_dict().items()}
    if not method.raw:
        # Distances are the square roots of sums that round at 1e-16.
        rows = unit(rows).round(12)
        if "proxies" in state:
            state["proxies"] = unit(state["proxies"])
    labels = tuple(array.numpy() for array in labels)
    return method.oracle(rows, labels if len(labels) > 1 else labels[0], state)


def unit_centers(loss):
    return torch.nn.functional.normalize(loss.proxies.detach(), dim=2)


def value_and_gradient(loss, embeddings, labels=None, **masks):
    embeddings = embeddings.clone().requires_grad_()
    value = loss(embeddings, labels, **masks)
    value.backward()
    return value.detach(), embeddings.grad


def test_every_loss_has_an_oracle():
    names = {name for name in losses.__all__ if name.endswith("Loss")}
    assert {method.name for method in METHODS} == names


@all_methods
@pytest.mark.parametrize("seed", range(2))
def test_equals_oracle(method, seed):
    embeddings, labels = make_batch(seed)
    loss = make_loss(method, seed)
    expected = expected_value(method, loss, embeddings, labels)
    assert abs(expected) > 1e-6
    value = loss(embeddings, labels)
    assert value.shape == ()
    assert value.item() == pytest.approx(expected, rel=1e-6, abs=1e-6)


@all_methods
def test_equals_oracle_with_pairs_at_rest(method):
    # Coincident samples of one class, whose terms are zero or weigh little.
    embeddings, labels = make_batch(0)
    embeddings[labels == 1] = embeddings[labels == 1][:1]
    loss = make_loss(method)
    expected = expected_value(method, loss, embeddings, labels)
    assert loss(embeddings, labels).item() == pytest.approx(expected, rel=1e-6)


@all_methods
def test_labels_of_any_integer_dtype(method):
    embeddings, labels = make_batch(0)
    loss = make_loss(method)
    for dtype in (torch.int32, torch.uint8):
        assert loss(embeddings, labels.to(dtype)) == loss(embeddings, labels)


@all_methods
def test_autocast_changes_nothing(method):
    embeddings, labels = make_batch(0)
    loss = make_loss(method, dtype=torch.float32)
    expected = loss(embeddings.float(), labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(embeddings.float(), labels)
    assert value.dtype == torch.float32
    assert value == expected


@all_methods
def test_zero_rows_have_gradients_of_common_size(method):
    embeddings, labels = make_batch(0)
    embeddings[:3] = 0
    _, gradient = value_and_gradient(make_loss(method), embeddings, labels)
    assert gradient.abs().max() < 1e3


@all_methods
def test_empty_batch_is_zero(method):
    loss = make_loss(method)
    embeddings = torch.zeros(0, N_FEATURES, dtype=torch.float64)
    value, _ = value_and_gradient(loss, embeddings, torch.zeros(0).long())
    # The regularizer of the centers is there without samples too.
    has_regulariser = hasattr(loss, "tau")
    expected = 0.0
    if has_regulariser and loss.proxies.shape[1] > 1:
        expected = loss.tau * loss._spread(unit_centers(loss))
    assert value == pytest.approx(float(expected))


def replay(method):
    """Make a method return its first result for ever."""
    results = []

    def first(*args):
        results[:] = results or [method(*args)]
        return results[0]

    return first


@all_methods
def test_gradcheck(method, monkeypatch):
    embeddings, labels = make_batch(3)
    loss = make_loss(method)
    for name in method.frozen:
        # What carries no gradient by definition must not move under finite differences.
        monkeypatch.setattr(loss, name, replay(getattr(loss, name)))
    embeddings.requires_grad_()
    parameters = tuple(loss.parameters())
    assert torch.autograd.gradcheck(
        lambda rows, *_: loss(rows, labels), (embeddings, *parameters), fast_mode=True
    )


# Their gradient treats weights as constants, or has none itself.
FIRST_ORDER = ("CircleLoss", "MarginLoss", "SmoothAPLoss", "SoftTripleLoss")


@pytest.mark.parametrize(
    "method",
    [m for m in METHODS if m.name not in FIRST_ORDER and not m.frozen],
    ids=str,
)
def test_second_derivatives(method):
    embeddings, labels = make_batch(3, n=8)
    loss = make_loss(method)
    embeddings.requires_grad_()
    assert torch.autograd.gradgradcheck(
        lambda rows: loss(rows, labels), embeddings, atol=1e-4, fast_mode=True
    )


@all_methods
def test_two_calls_before_a_backward_pass(method):
    embeddings, labels = make_batch(0)
    loss = make_loss(method).train()
    embeddings.requires_grad_()
    (loss(embeddings, labels) + loss(embeddings * 1.1, labels)).backward()
    assert embeddings.grad.isfinite().all()


@all_methods
def test_order_of_the_batch_does_not_matter(method):
    embeddings, labels = make_batch(1)
    loss = make_loss(method)
    value, gradient = value_and_gradient(loss, embeddings, labels)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    permuted, permuted_gradient = value_and_gradient(
        loss, embeddings[order], labels[order]
    )
    torch.testing.assert_close(permuted, value)
    torch.testing.assert_close(permuted_gradient, gradient[order])


@methods_of_any_classes
def test_names_of_the_classes_do_not_matter(method):
    embeddings, labels = make_batch(1)
    loss = make_loss(method)
    renamed = torch.tensor([2**40, -7, 12, 0])[labels]
    assert loss(embeddings, renamed) == loss(embeddings, labels)


rows = torch.tensor([[0.3, -1.2, 0.5, 0.1, 2.0, -0.7]])
others = torch.randn(7, N_FEATURES, generator=torch.Generator().manual_seed(7))
DEGENERATE = {
    "duplicates of one class": (rows.repeat(8, 1), torch.zeros(8)),
    "duplicates of two classes": (rows.repeat(8, 1), torch.arange(8) % 2),
    "duplicates in part": (
        torch.cat([rows.repeat(3, 1), others]),
        torch.arange(10) % 3,
    ),
    "opposite rows": (torch.cat([rows, -rows, rows, -rows]), torch.arange(4) // 2),
    "zero rows": (torch.zeros(8, N_FEATURES), torch.arange(8) % 2),
    "zero rows in part": (
        torch.cat([torch.zeros(3, N_FEATURES), others]),
        torch.arange(10) % 3,
    ),
    "tiny rows": (others * 1e-30, torch.arange(7) % 2),
    "large rows": (others * 1e15, torch.arange(7) % 2),
    "one class": (others, torch.zeros(7)),
    "all classes different": (others[:N_CLASSES], torch.arange(N_CLASSES)),
    "one sample": (rows, torch.zeros(1)),
    "permuted labels": (others, torch.tensor([2, 0, 1, 1, 2, 0, 2])),
}


@all_methods
def test_finite_on_degenerate_batches(method):
    for name, (embeddings, labels) in DEGENERATE.items():
        for dtype in (torch.float32, torch.bfloat16):
            batch, classes = embeddings.to(dtype), labels.long()
            loss = make_loss(method, dtype=torch.float32)
            value, gradient = value_and_gradient(loss, batch, classes)
            gradients = [gradient, *(p.grad for p in loss.parameters())]
            assert value.isfinite(), (name, dtype)
            assert all(g.isfinite().all() for g in gradients), (name, dtype)
            reverse, _ = value_and_gradient(loss, batch.flip(0), classes.flip(0))
            torch.testing.assert_close(
                reverse, value, rtol=1e-4, atol=1e-4, msg=f"{name}, {dtype}"
            )


def masks_of(labels):
    same = labels[:, None] == labels
    return {
        "positives": same.clone().fill_diagonal_(fill_value=False),
        "negatives": ~same,
    }


def masks_without_labels(n, seed, *, symmetric):
    """Draw masks that no labels express; some pairs are in neither of them."""
    draw = torch.randint(4, (n, n), generator=torch.Generator().manual_seed(seed))
    if symmetric:
        draw = draw.tril() + draw.tril(-1).T
    draw.fill_diagonal_(0)
    return {"positives": draw == 1, "negatives": draw >= 2}


@mask_methods
def test_masks_equal_the_labels_to_the_bit(method):
    batches = {"random": make_batch(0), **DEGENERATE}
    for name, (embeddings, labels) in batches.items():
        loss = make_loss(method, dtype=embeddings.dtype)
        expected = value_and_gradient(loss, embeddings, labels.long())
        found = value_and_gradient(loss, embeddings, **masks_of(labels))
        assert all(map(torch.equal, found, expected)), name


@mask_methods
@pytest.mark.parametrize("symmetric", [True, False])
def test_masks_that_no_labels_express_equal_the_oracle(method, symmetric):
    embeddings, _ = make_batch(1)
    loss = make_loss(method)
    masks = masks_without_labels(len(embeddings), 0, symmetric=symmetric)
    # 0 and 1 belong together, and 1 and 2, but 0 and 2 do not.
    for i, j, belong in ((0, 1, True), (1, 2, True), (0, 2, False)):
        for pair in ((i, j), (j, i)) if symmetric else ((i, j),):
            masks["positives"][pair], masks["negatives"][pair] = belong, not belong
    expected = expected_value(method, loss, embeddings, *masks.values())
    assert abs(expected) > 1e-6
    value, gradient = value_and_gradient(loss, embeddings, **masks)
    assert value.item() == pytest.approx(expected, rel=1e-6, abs=1e-6)
    order = torch.randperm(len(embeddings), generator=torch.Generator().manual_seed(0))
    permuted = {name: mask[order][:, order] for name, mask in masks.items()}
    again, permuted_gradient = value_and_gradient(loss, embeddings[order], **permuted)
    torch.testing.assert_close(again, value)
    torch.testing.assert_close(permuted_gradient, gradient[order])


@mask_methods
def test_finite_for_degenerate_masks(method):
    for name, (embeddings, _) in DEGENERATE.items():
        n = len(embeddings)
        every = ~torch.eye(n, dtype=torch.bool)
        drawn = masks_without_labels(n, 3, symmetric=False)
        for positives, negatives in (
            (~every & every, ~every & every),
            (every, ~every & every),
            (~every & every, every),
            tuple(drawn.values()),
            # The first anchor has positives only, the last negatives only.
            (every & (torch.arange(n) == 0)[:, None], every.tril(-1).roll(1, 0) & every)
            if n > 2
            else (every, ~every & every),
        ):
            loss = make_loss(method, dtype=torch.float32)
            masks = {"positives": positives, "negatives": negatives & ~positives}
            value, gradient = value_and_gradient(loss, embeddings, **masks)
            gradients = [gradient, *(p.grad for p in loss.parameters())]
            assert value.isfinite(), name
            assert all(g.isfinite().all() for g in gradients), name


@mask_methods
def test_gradcheck_with_masks(method, monkeypatch):
    embeddings, _ = make_batch(3)
    loss = make_loss(method)
    for name in method.frozen:
        monkeypatch.setattr(loss, name, replay(getattr(loss, name)))
    masks = masks_without_labels(len(embeddings), 3, symmetric=False)
    assert torch.autograd.gradcheck(
        lambda rows: loss(rows, **masks), embeddings.requires_grad_(), fast_mode=True
    )


@proxy_methods
def test_equal_proxies_are_finite(method):
    embeddings, labels = make_batch(0)
    loss = make_loss(method)
    with torch.no_grad():
        loss.proxies.copy_(torch.ones_like(loss.proxies))
    value, gradient = value_and_gradient(loss, embeddings, labels)
    assert value.isfinite()
    assert gradient.isfinite().all()
    assert loss.proxies.grad.isfinite().all()


def separation(embeddings, labels):
    """Mean similarity within classes minus that between classes."""
    directions = unit(embeddings.detach().numpy())
    same = labels[:, None] == labels
    similarities = torch.from_numpy(directions @ directions.T)
    return similarities[same].mean() - similarities[~same].mean()


@all_methods
def test_descent_separates_the_classes(method):
    embeddings, labels = make_batch(2)
    loss = make_loss(method)
    first, before = loss(embeddings, labels).item(), separation(embeddings, labels)
    embeddings.requires_grad_()
    optimizer = torch.optim.Adam([embeddings, *loss.parameters()], lr=0.05)
    for _ in range(80):
        optimizer.zero_grad()
        loss(embeddings, labels).backward()
        optimizer.step()
    assert loss(embeddings, labels).item() < first - 0.5 * abs(first)
    assert separation(embeddings, labels) > before


@all_methods
def test_shows_its_parameters(method):
    loss = method.make()
    for name, value in method.arguments.items():
        assert f"{name}={value!r}" in repr(loss)
    assert repr(loss).startswith(f"{method.name}(")


with_state = pytest.mark.parametrize(
    "method", [m for m in METHODS if list(m.make().buffers())], ids=str
)


@with_state
@pytest.mark.parametrize("n_features", [2, N_FEATURES])
def test_state_stays_finite_in_training(method, n_features):
    # Many classes in few dimensions, and between them what is degenerate.
    n_classes = 200 if method.has_proxies else N_CLASSES
    loss = replace(method, state={}).make(n_classes, n_features).train()
    generator = torch.Generator().manual_seed(0)
    for step in range(150):
        batch = torch.randn(32, n_features, generator=generator).requires_grad_()
        labels = torch.randint(n_classes, (32,), generator=generator)
        if step % 3 == 1:
            batch, labels = list(DEGENERATE.values())[step % len(DEGENERATE)]
            batch = batch[:, :n_features].clone().requires_grad_()
        value = loss(batch, labels.long())
        value.backward()
        assert value.isfinite()
        assert batch.grad.isfinite().all()
    assert all(buffer.isfinite().all() for buffer in loss.buffers())


@all_methods
def test_rows_without_a_length_are_not_hidden(method):
    for number in (torch.nan, torch.inf, 1e300):
        embeddings, labels = make_batch(0)
        embeddings[2:5, 1] = number
        value = make_loss(method)(embeddings, labels)
        assert not value.isfinite() or (method.raw and value.abs() > 1e100)


@some_methods
def test_arrays_are_refused(method):
    with pytest.raises(TypeError, match=r"embeddings must be a torch tensor.*ndarray"):
        make_loss(method)(np.zeros((2, 6)), torch.zeros(2).long())


@some_methods
@pytest.mark.parametrize(
    ("embeddings", "labels", "message"),
    [
        (torch.zeros(3), torch.zeros(3).long(), r"shape \(n, d\).*\(3,\)"),
        (torch.zeros(3, 6).long(), torch.zeros(3).long(), "floating point.*int64"),
        (torch.zeros(3, 6), torch.zeros(4).long(), r"shape \(3,\).*\(4,\)"),
        (torch.zeros(3, 6), torch.zeros(3, 1).long(), r"shape \(3,\).*\(3, 1\)"),
        (torch.zeros(3, 6), torch.zeros(3), "integers, got torch.float32"),
    ],
)
def test_wrong_batches_are_refused(method, embeddings, labels, message):
    with pytest.raises(ValueError, match=message):
        make_loss(method)(embeddings, labels)


@proxy_methods
def test_batches_that_do_not_fit_the_proxies_are_refused(method):
    loss = make_loss(method)
    with pytest.raises(ValueError, match=r"6 columns, got shape \(2, 5\)"):
        loss(torch.zeros(2, 5), torch.tensor([0, 1]))
    for bad in (-1, N_CLASSES):
        with pytest.raises(ValueError, match=r"labels must lie in 0 \.\. 3"):
            loss(torch.zeros(2, 6), torch.tensor([0, bad]))
