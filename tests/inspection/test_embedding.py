import io
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.utils import check_random_state

from sk_dml.inspection import EmbeddingDisplay, _embedding
from sk_dml.inspection._base import COLORS, OTHER, SAME

draw = EmbeddingDisplay.from_embeddings


def points(n_samples, n_classes):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n_samples, 4)), np.arange(n_samples) % n_classes


def note_of(display):
    return " ".join(child.get_text().replace("\n", " ") for child in display.ax_.texts)


def style_of(scatter):
    shape = scatter.get_paths()[0].vertices.round(6).tobytes()
    return to_hex(scatter.get_facecolor()[0]), shape


@pytest.mark.parametrize("n_classes", [10, 30, 31, 100])
def test_classes_differ_in_color_or_shape(n_classes):
    X, labels = points(300, n_classes)
    display = draw(X, labels)
    styles = [style_of(scatter) for scatter in display.scatters_]
    assert len({*styles}) == n_classes
    colors, shapes = zip(*styles, strict=True)
    assert colors[:10] == COLORS
    assert len({*shapes[:10]}) == 10
    for label, scatter in enumerate(display.scatters_):
        expected = display.positions[labels == label]
        np.testing.assert_allclose(scatter.get_offsets(), expected)
    if n_classes <= 30:
        names = [text.get_text() for text in display.legend_.get_texts()]
        assert names == [*map(str, range(n_classes))]
        figure = display.figure_
        figure.draw_without_rendering()
        box, room = display.legend_.get_window_extent(), figure.bbox
        assert room.y0 <= box.y0 <= box.y1 <= room.y1
    else:
        assert display.legend_ is None
        assert f"{n_classes} classes, each with a color and shape" in note_of(display)


@pytest.mark.parametrize("n_classes", [11, 101])
def test_very_many_classes_show_the_class_of_the_neighbor(n_classes):
    X, labels = points(600, n_classes)
    X[:300] += 30 * np.eye(n_classes)[:, :4][labels[:300]] + 9 * labels[:300, None]
    images = np.zeros((600, 4, 4)) if n_classes < 100 else None
    display = draw(
        X, labels, images=images, max_samples=200, n_thumbnails=3, random_state=0
    )
    # The neighbor is searched among all samples, drawn or not, in all dimensions.
    distances = np.linalg.norm(X[:, None] - X, axis=2)
    np.fill_diagonal(distances, np.inf)
    is_own = labels[distances.argmin(axis=1)] == labels
    assert 0.1 < display.is_near_own.mean() < 0.9
    if images is not None:
        expected = is_own[display.image_indices]
        np.testing.assert_array_equal(display.is_near_own, expected)
    own, other = display.scatters_
    assert to_hex(own.get_facecolor()[0]) == SAME
    assert to_hex(other.get_facecolor()[0]) == OTHER
    assert len(own.get_offsets()) == display.is_near_own.sum()
    everything = draw(X, labels, images=images, n_thumbnails=0, max_samples=None)
    np.testing.assert_array_equal(everything.is_near_own, is_own)
    names = [text.get_text() for text in display.legend_.get_texts()]
    assert names == ["its own class", "another class"]
    share = f"{display.is_near_own.mean():.0%} of the points"
    assert share in note_of(display)


def test_a_map_of_many_classes_alone_claims_nothing():
    positions, labels = points(303, 101)
    display = EmbeddingDisplay(positions[:, :2], labels).plot()
    assert display.legend_ is None
    assert len(display.scatters_) == 1
    assert note_of(display) == "101 classes"


def test_chosen_classes_stand_out():
    X, labels = points(3000, 1000)
    display = draw(X, labels, highlight=[7, 990])
    assert [t.get_text() for t in display.legend_.get_texts()] == ["7", "990"]
    assert [len(s.get_offsets()) for s in display.scatters_] == [3, 3]
    assert "2 of 1,000 classes in color" in note_of(display)
    display.plot(highlight=range(8))
    for scatter in display.scatters_:  # no gray among the grays
        red, green, blue = scatter.get_facecolor()[0][:3]
        assert max(red, green, blue) - min(red, green, blue) > 0.2
    with pytest.raises(ValueError, match="got 9"):
        display.plot(highlight=range(9))


@pytest.mark.parametrize("max_samples", [2, 60])
def test_chosen_classes_are_always_in_the_sample(max_samples):
    X, labels = points(3000, 1000)
    labels[:50] = 7
    for seed in range(3):
        display = draw(
            X, labels, highlight=[990, 7], max_samples=max_samples, random_state=seed
        )
        sizes = [len(scatter.get_offsets()) for scatter in display.scatters_]
        assert sum(sizes) == min(max_samples, 50 + 3 + 2)
        assert min(sizes) >= 1
    assert "the highlighted first" in note_of(display)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"highlight": [1000]}, r"got 1, different and known 0: \[1000\]"),
        ({"highlight": [7, 7]}, "got 2, different and known 1"),
        ({"highlight": []}, "got 0"),
        ({"highlight": "dog"}, "highlight must be a list of labels, got 'dog'"),
        ({"highlight": 7}, "highlight must be a list of labels, got 7"),
        ({"highlight": [0, 1, 2], "max_samples": 2}, "max_samples must be >= 3"),
        ({"max_samples": 1}, "max_samples must be >= 2, got 1"),
        ({"method": "lda"}, r"method must be one of .*got 'lda'"),
        ({"n_thumbnails": -1}, "n_thumbnails must be >= 0, got -1"),
        ({"images": np.zeros((3, 4, 4))}, "must be 30, one for each sample, got 3"),
        ({"images": [f"{i}.png" for i in range(30)]}, r"30 are not, first '0\.png'"),
        ({"X": np.zeros((30, 1))}, "2 or more features, got shape"),
    ],
)
def test_bad_input_is_refused_before_the_work(options, message, monkeypatch):
    monkeypatch.setattr(_embedding, "reduce", None)
    X, labels = points(30, 10)
    with pytest.raises(ValueError, match=message):
        draw(**{"X": X, "labels": labels, **options})


def test_large_inputs_are_sampled():
    X, labels = points(300, 5)
    images = np.arange(300)[:, None, None] * np.ones((1, 4, 4))
    display = draw(X, labels, images=images, max_samples=50, random_state=0)
    assert display.positions.shape == (50, 2)
    assert note_of(display).startswith("50 of 300 samples, drawn at random")
    # No image is copied, and those of the points are of the same samples.
    assert display.images is images
    np.testing.assert_array_equal(display.image_indices % 5, display.labels)
    for box in display.thumbnails_:
        (place,) = np.flatnonzero((display.positions == box.xy).all(axis=1))
        # Bright by the range of all images, shown or not.
        expected = display.image_indices[place] / 299
        np.testing.assert_allclose(box.offsetbox.get_data(), expected)


@pytest.mark.parametrize("n_thumbnails", [0, 9, 500])
def test_thumbnails_do_not_cover_each_other(n_thumbnails):
    X, labels = points(400, 9)
    images = np.random.default_rng(0).random((400, 8, 8))
    display = draw(X, labels, images=images, n_thumbnails=n_thumbnails)
    figure = display.figure_
    figure.savefig(io.BytesIO())
    boxes = [box.get_window_extent() for box in display.thumbnails_]
    assert len(boxes) <= n_thumbnails
    if n_thumbnails <= 9:
        assert len(boxes) == n_thumbnails
    else:
        assert 9 < len(boxes) < 500
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i])
        index = np.flatnonzero((display.positions == display.thumbnails_[i].xy).all(1))
        shown = display.thumbnails_[i].offsetbox.get_data()
        np.testing.assert_array_equal(shown, images[index[0]])


def test_sub_figures_hold_thumbnails_too():
    X, labels = points(50, 3)
    left, right = Figure().subfigures(1, 2)
    display = draw(X, labels, images=np.zeros((50, 3, 3)), ax=right.subplots())
    assert display.figure_ is right
    assert display.thumbnails_
    assert not left.axes


def test_maps_without_a_scale_have_no_ticks():
    X, labels = points(30, 3)
    display = draw(X, labels, method="tsne", random_state=0)
    assert display.ax_.get_xlabel() == "t-SNE 1"
    assert not len(display.ax_.get_xticks())
    display = draw(X, labels)
    assert display.ax_.get_aspect() == 1
    assert len(display.ax_.get_xticks())


def test_pca_is_scikit_learns(blobs):
    positions, names = _embedding.reduce(blobs[0], "pca", check_random_state(0))
    expected = PCA(2).fit(blobs[0])
    np.testing.assert_allclose(
        np.abs(positions), np.abs(expected.transform(blobs[0])), atol=1e-12
    )
    share = expected.explained_variance_ratio_[1]
    assert names[1] == f"principal component 2 ({share:.0%} of the variance)"


@pytest.mark.parametrize("n_samples", [2, 42])
def test_tsne_takes_few_samples(blobs, n_samples):
    X = blobs[0][:n_samples]
    first = _embedding.reduce(X, "tsne", check_random_state(0))[0]
    again = _embedding.reduce(X, "tsne", check_random_state(0))[0]
    assert first.shape == (n_samples, 2)
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(first, again)


@pytest.fixture
def given(monkeypatch):
    """Replace the reducers; return the arguments that they are given."""
    given = {}
    reducer = SimpleNamespace(fit_transform=lambda X: X[:, :2].astype(np.float32))

    def make(**kwargs):
        given.update(kwargs)
        return reducer

    monkeypatch.setattr(_embedding, "TSNE", make)
    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=make))
    return given


def test_tsne_draws_from_the_random_state(blobs, given):
    state = check_random_state(0)
    _embedding.reduce(blobs[0], "tsne", state)
    assert given["random_state"] is state


def test_umap_is_called_with_a_seed(blobs, given, monkeypatch):
    positions, names = _embedding.reduce(blobs[0], "umap", check_random_state(0))
    assert positions.shape == (42, 2)
    assert positions.dtype == np.float64
    assert names == ("UMAP 1", "UMAP 2")
    seed = check_random_state(0).randint(np.iinfo(np.int32).max)
    assert given == {"n_neighbors": 15, "random_state": seed, "n_jobs": 1}
    with pytest.raises(ValueError, match="'umap' needs 4 or more samples, got 3"):
        _embedding.reduce(blobs[0][:3], "umap", check_random_state(0))
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ImportError, match="pip install umap-learn"):
        _embedding.reduce(blobs[0], "umap", check_random_state(0))


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_warning_about_one_point(method):
    with pytest.warns(UserWarning, match="All 9 samples are embedded at the same"):
        positions, _ = _embedding.reduce(np.ones((9, 3)), method, check_random_state(0))
    np.testing.assert_array_equal(positions, np.zeros((9, 2)))


@pytest.mark.parametrize("n_chosen", [0, 1, 20, 200])
def test_chosen_points_are_apart(n_chosen):
    points = np.random.default_rng(0).normal(size=(300, 2))
    chosen, spacing = _embedding.spread(points, n_chosen, smallest=0.25)
    assert len(chosen) == len(set(chosen.tolist())) <= n_chosen
    gaps = np.abs(points[chosen][:, None] - points[chosen]).max(axis=2)
    gaps = gaps[~np.eye(len(chosen), dtype=bool)]
    if n_chosen < 2:
        assert spacing == np.inf
    else:
        assert gaps.min() == pytest.approx(spacing)
        assert spacing >= 0.25
    if n_chosen <= 20:
        assert len(chosen) == n_chosen
    else:  # No room for another one.
        left = np.abs(points[:, None] - points[chosen]).max(axis=2).min(axis=1)
        assert left.max() < 0.25
    assert len(_embedding.spread(np.ones((5, 2)), n_chosen, 0)[0]) == min(n_chosen, 1)
