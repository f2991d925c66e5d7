import warnings

import numpy as np
import pytest
import torch

from sk_dml import CircleEmbedder
from sk_dml._networks._augment import (
    CustomAugmentation,
    RandomAffine,
    RandomResizedCrop,
    _within,
    build_augmentation,
)

KINDS = [RandomAffine, RandomResizedCrop]


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def with_settings(kind, **settings):
    made = kind()
    vars(made).update(settings)
    return made


def ramp(n=50, height=16, width=24, axis=-1):
    """Return images whose values are the index along an axis."""
    size = (height, width)[axis]
    indices = torch.arange(size, dtype=torch.float32)
    indices = indices if axis == -1 else indices[:, None]
    return indices.expand(n, 1, height, width).clone()


@pytest.mark.parametrize("kind", KINDS)
def test_evaluation_keeps_images(kind):
    images = torch.randn(3, 2, 9, 7)
    before = torch.get_rng_state()
    assert kind().eval()(images) is images
    assert torch.equal(torch.get_rng_state(), before)
    assert not kind().state_dict()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize(
    "shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (4, 20, 33), (1, 64, 40), (2, 1, 1)]
)
def test_shapes_and_ranges_are_kept(kind, dtype, shape):
    images = (255 * torch.rand(20, *shape)).to(dtype)
    changed = kind()(images)
    assert changed.shape == images.shape
    assert changed.dtype == torch.float32
    before, after = images.float().flatten(2), changed.flatten(2)
    assert (after.amax(2) <= before.amax(2) + 1e-3).all()
    assert (after.amin(2) >= before.amin(2) - 1e-3).all()
    if min(shape[1:]) > 1:
        assert not torch.allclose(changed, images.float())


@pytest.mark.parametrize("kind", KINDS)
def test_images_change_independently_and_channels_alike(kind):
    image = torch.rand(1, 1, 20, 20)
    changed = kind()(image.expand(30, 2, 20, 20))
    assert len(changed.flatten(1).unique(dim=0)) == 30
    torch.testing.assert_close(changed[:, 0], changed[:, 1])
    # Other images of the batch do not matter.
    images = torch.rand(4, 1, 20, 20)
    other = images.clone()
    other[1:] = 0
    torch.manual_seed(1)
    first = kind()(images)[0]
    torch.manual_seed(1)
    torch.testing.assert_close(kind()(other)[0], first)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_draws_the_same(kind):
    images = torch.rand(5, 3, 12, 12)
    results = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        results.append(kind()(images))
    assert torch.equal(results[0], results[1])
    assert not torch.allclose(results[0], results[2])


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_flow_and_autocast_costs_no_digits(kind):
    images = torch.rand(5, 1, 12, 12, requires_grad=True)
    torch.manual_seed(0)
    expected = kind()(images)
    expected.sum().backward()
    assert images.grad.abs().sum() > 0
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(kind()(images), expected)


def test_affine_changes_one_by_one():
    none = {"degrees": 0, "scale": 0, "shear": 0, "shift": 0, "bend": 0}
    images = torch.rand(20, 1, 30, 40)
    torch.testing.assert_close(with_settings(RandomAffine, **none)(images), images)

    def slopes(**change):
        """Return the slopes of values in the middle, by pixel right and down."""
        made = with_settings(RandomAffine, **{**none, **change})
        torch.manual_seed(0)
        across = made(ramp(400, 30, 40, axis=-1))[:, 0, 10:20, 15:25]
        torch.manual_seed(0)
        down = made(ramp(400, 30, 40, axis=-2))[:, 0, 10:20, 15:25]
        return [
            torch.stack([m.diff(dim=2).mean((1, 2)), m.diff(dim=1).mean((1, 2))], 1)
            for m in (across, down)
        ]

    # A rotation keeps lengths and angles, also on images that are not square.
    x, y = slopes(degrees=20)
    ones = torch.ones(400)
    torch.testing.assert_close(x.square().sum(1), ones, atol=1e-3, rtol=0)
    torch.testing.assert_close(y.square().sum(1), ones, atol=1e-3, rtol=0)
    torch.testing.assert_close((x * y).sum(1), 0 * ones, atol=1e-3, rtol=0)
    angles = torch.atan2(y[:, 0], x[:, 0]).rad2deg()
    assert 19 < angles.max() <= 20.01
    assert -20.01 <= angles.min() < -19
    # Scales differ between the axes, and are symmetric in logarithm.
    x, y = slopes(scale=0.3)
    logs = torch.stack([x[:, 0], y[:, 1]]).log()
    assert 0.28 < logs.abs().max() <= 0.301
    assert logs.mean(1).abs().max() < 0.03
    assert not torch.allclose(logs[0], logs[1])
    x, y = slopes(shear=0.2)
    assert 0.19 < x[:, 1].abs().max() <= 0.201
    torch.testing.assert_close(y[:, 1], ones, atol=1e-3, rtol=0)
    # Shifts are a share of either side.
    shifts = with_settings(RandomAffine, **{**none, "shift": 0.1})(ramp(400, 30, 40))
    shifts = shifts[:, 0, 15, 20] - 20
    assert 3.9 < shifts.max() <= 4.001
    assert -4.001 <= shifts.min() < -3.9
    # Bends move points by a share of the sides, and differ within an image.
    bent = with_settings(RandomAffine, **{**none, "bend": 0.02})
    moved = bent(ramp(2000, 30, 100))[:, 0]
    moved = moved[:, :, 30:70] - torch.arange(30, 70)
    assert 0.01 < moved.std() / 100 < 0.02
    assert moved.std(dim=(1, 2)).mean() / 100 > 0.005


def test_crops_lie_within_images_and_have_the_given_shares():
    height, width, n = 32, 48, 2000
    crop = with_settings(RandomResizedCrop, area=(0.2, 0.6))
    torch.manual_seed(0)
    x = crop(ramp(n, height, width, axis=-1))[:, 0]
    torch.manual_seed(0)
    y = crop(ramp(n, height, width, axis=-2))[:, 0]
    for positions, size in ((x, width), (y, height)):
        assert positions.min() >= 0
        assert positions.max() <= size - 1
    # The step from pixel to pixel in the middle is the size of the part.
    wide = x[:, 16, 24:26].diff(dim=1)[:, 0] * width
    high = y[:, 16:18, 24].diff(dim=1)[:, 0] * height
    assert 0.45 < (wide < 0).float().mean() < 0.55  # those that are mirrored
    area = wide.abs() * high / (width * height)
    assert 0.19 < area.min() < 0.22
    assert 0.57 < area.max() < 0.61
    ratio = wide.abs() / high
    assert 0.74 < ratio.min() < 0.77
    assert 1.30 < ratio.max() < 1.34
    # They reach every border, and lie around the middle on average.
    assert x.amin((1, 2)).min() < 1
    assert x.amax((1, 2)).max() > width - 2
    assert abs(x.mean() - (width - 1) / 2) < 1


@pytest.mark.parametrize("shape", [(2, 3, 7, 12), (2, 1, 1, 5), (2, 1, 1, 1)])
def test_clamped_points_have_the_color_of_the_border(shape):
    images = torch.rand(shape)
    grid = 6 * torch.rand(2, 9, 8, 2) - 3
    expected, clamped = (
        torch.nn.functional.grid_sample(
            images, points, padding_mode=mode, align_corners=False
        )
        for points, mode in ((grid, "border"), (_within(grid, images), "zeros"))
    )
    torch.testing.assert_close(clamped, expected, atol=1e-5, rtol=0)


def test_a_crop_is_no_larger_than_the_image():
    whole = with_settings(RandomResizedCrop, area=(1.0, 1.0), ratio=2.0)
    positions = whole(ramp(200, 20, 20))
    assert positions.min() == 0
    assert positions.max() == 19


def test_crops_have_the_given_size():
    crop = build_augmentation("crop", True, crop_size=12)
    images = torch.rand(4, 3, 20, 30)
    assert crop(images).shape == (4, 3, 12, 12)


@pytest.mark.parametrize(
    ("augment", "is_image", "expected"),
    [
        ("affine", True, RandomAffine),
        ("crop", True, RandomResizedCrop),
        (torch.flip, True, CustomAugmentation),
        (torch.flip, False, CustomAugmentation),
    ],
)
def test_kinds(augment, is_image, expected):
    assert type(build_augmentation(augment, is_image)) is expected


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((5,), type(None)),
        ((1, 8, 8), RandomAffine),
        ((3, 8, 8), RandomResizedCrop),
        ((2, 8, 8), RandomResizedCrop),
    ],
)
def test_kind_of_auto(shape, expected):
    X = np.random.default_rng(0).random((8, *shape), dtype=np.float32)
    embedder = CircleEmbedder(4, max_epochs=1, batch_size=8, random_state=0)
    network = embedder.fit(X, np.arange(8) % 2).net_.module_
    assert type(getattr(network, "augment", None)) is expected


@pytest.mark.parametrize("augment", ["affine", "crop"])
def test_rows_are_refused(augment):
    with pytest.raises(ValueError, match=f"augment='{augment}' is for images"):
        build_augmentation(augment, False)


def darker(images):
    return images.float() / 2


def test_functions_run_in_training_only():
    given = build_augmentation(darker, True)
    images = torch.full((2, 1, 4, 4), 8, dtype=torch.uint8)
    assert (given(images) == 4).all()
    assert given.eval()(images) is images
    dropout = torch.nn.Dropout(0.5)
    given = build_augmentation(dropout, True)
    assert given.function is not dropout
    assert (given(images.float()) == 0).any()


@pytest.mark.parametrize(
    "function",
    [lambda x: x[:, :, :3], lambda x: x[:1], lambda x: x.numpy(), len],
    ids=["cut", "fewer", "ndarray", "number"],
)
def test_functions_must_keep_the_shape(function):
    given = build_augmentation(function, True)
    with pytest.raises(ValueError, match=r"augment must return .*\(2, 1, 4, 4\)"):
        given(torch.zeros(2, 1, 4, 4))


def test_classes_are_refused():
    X, y = images()
    for cls in (torch.nn.Dropout, RandomAffine):
        with pytest.raises(
            TypeError, match=rf"augment must be .* an instance, {cls.__name__}\(\)"
        ):
            CircleEmbedder(4, augment=cls, **SMALL).fit(X, y)


def fails(images):
    raise KeyError("mean")


@pytest.mark.parametrize(
    ("augment", "error", "message"),
    [
        (fails, RuntimeError, r"augment=<function fails.*\(16, 1, 8, 8\).*'mean'"),
        (lambda x: x[:, :, 1:], ValueError, r"shape .*\(16, 1, 8, 8\), got Tensor \("),
        (lambda x: x > 9, ValueError, r"floats or uint8, got torch\.bool"),
        (lambda x: x.long(), ValueError, r"floats or uint8, got torch\.int64"),
        (lambda x: x / 0, ValueError, "finite values, got NaN or infinity"),
        (
            lambda x: x / 255,
            ValueError,
            "from 0 to 1 for images .* 255.*normalizing",
        ),
        (
            lambda x: (x.float() - 117) / 57,
            ValueError,
            "from -2.0.* to 2.4.* from 0 to 255",
        ),
    ],
    ids=["fails", "shape", "bool", "int", "infinite", "scale", "normalized"],
)
def test_bad_functions_are_refused(augment, error, message):
    X, y = images()
    with pytest.raises(error, match=message):
        CircleEmbedder(4, augment=augment, **SMALL).fit(X, y)


def test_functions_that_normalize_raise_one_warning():
    X, y = images()
    settings = {"module": "linear", **SMALL}
    embedder = CircleEmbedder(4, augment=lambda x: (x - 0.5) / 0.25, **settings)
    with pytest.warns(
        UserWarning, match="from -2 to 2 .* from 0 to 1, which transform"
    ) as record:
        embedder.fit(X / 255, y)
    assert len(record) == 1
    assert record[0].filename == __file__
    for allowed in (
        lambda x: x + 0.1 * torch.randn_like(x),
        lambda x: (1.5 * x).clamp(0, 1),
        torch.zeros_like,
        lambda x: 1 - x,
    ):
        fit_quietly(CircleEmbedder(4, augment=allowed, **settings), X / 255, y)
    # Rows have no scale.
    embedder.set_params(augment=lambda x: 100 * x - 50)
    fit_quietly(embedder, X.reshape(len(X), -1) / 255, y)


def fit_quietly(embedder, X, y):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Short trainings on noise may fail.
        warnings.filterwarnings("ignore", "The (embedding has coll|gradient)")
        embedder.fit(X, y)


def test_functions_may_crop():
    given = build_augmentation(lambda x: x[..., :3, :3], True, crop_size=3)
    assert given(torch.zeros(2, 1, 4, 4)).shape == (2, 1, 3, 3)


def images(n=32, shape=(8, 8), n_classes=4):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, size=(n, *shape)).astype(np.uint8)
    return X, np.arange(n) % n_classes


SMALL = {"max_epochs": 1, "batch_size": 16, "random_state": 0}


@pytest.mark.parametrize("shape", [(8, 8), (3, 8, 8)])
def test_fits_are_reproducible_and_leave_the_global_generator(shape):
    X, y = images(shape=shape)
    before = torch.get_rng_state()
    first = CircleEmbedder(4, **SMALL).fit(X, y)
    assert torch.equal(torch.get_rng_state(), before)
    again = CircleEmbedder(4, **SMALL).fit(X, y)
    np.testing.assert_array_equal(first.transform(X), again.transform(X))
    np.testing.assert_array_equal(first.transform(X), first.transform(X))
    plain = CircleEmbedder(4, augment=None, **SMALL).fit(X, y)
    assert not np.allclose(plain.transform(X), first.transform(X))


def test_micro_batches_see_the_same_changes():
    X, y = images()
    settings = {**SMALL, "module": "linear", "optimizer": "sgd"}
    whole = CircleEmbedder(4, **settings).fit(X, y)
    pieces = CircleEmbedder(4, micro_batch_size=15, **settings)
    # Random numbers of a batch are drawn piece by piece: compare without any.
    shifted = [e.set_params(augment=half).fit(X, y) for e in (whole, pieces)]
    np.testing.assert_allclose(*[e.transform(X) for e in shifted], atol=1e-4)
    # The pass for the embeddings and that for the gradients see the same images.
    seen = Seen()
    CircleEmbedder(4, micro_batch_size=8, augment=seen, **settings).fit(X, y)
    batches = torch.stack(Seen.batches).reshape(-1, 2, 2, 8, 1, 8, 8)
    torch.testing.assert_close(batches[:, 0], batches[:, 1])
    assert not torch.allclose(batches[0, 0, 0], batches[0, 0, 1])


def half(images):
    return images.float() / 2


class Seen(RandomAffine):
    """Records the changed batches."""

    batches: list = []

    def forward(self, images):
        changed = super().forward(images)
        if self.training:
            self.batches.append(changed.detach().clone())
        return changed


def test_a_network_trained_on_changed_images_knows_the_unchanged_ones():
    X = np.zeros((80, 12, 12), dtype=np.float32)
    y = np.arange(80) % 4
    for i, label in enumerate(y):
        top, left = 6 * (label // 2), 6 * (label % 2)
        X[i, top : top + 6, left : left + 6] = 1
    X += np.random.default_rng(0).normal(0, 0.1, X.shape).astype(np.float32)
    embedder = CircleEmbedder(4, max_epochs=10, random_state=0, batch_size=16)
    embedding = embedder.fit(X, y).transform(X)
    similarities = embedding @ embedding.T
    same = y[:, None] == y
    assert similarities[same].mean() > similarities[~same].mean() + 0.5
