import io

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from sk_dml.inspection import EmbeddingDisplay
from sk_dml.inspection._style import COLORS


def points(n_samples, n_classes):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n_samples, 4)), np.arange(n_samples) % n_classes


def note_of(display):
    return " ".join(child.get_text().replace("\n", " ") for child in display.ax_.texts)


def test_few_classes_have_a_colour_and_a_shape_each():
    X, labels = points(100, 10)
    display = EmbeddingDisplay.from_embeddings(X, labels)
    assert [t.get_text() for t in display.legend_.get_texts()] == [*map(str, range(10))]
    colors = [to_hex(s.get_facecolor()[0]) for s in display.scatters_]
    shapes = {s.get_paths()[0].vertices.round(6).tobytes() for s in display.scatters_}
    assert colors == [*COLORS]
    assert len(shapes) == 10
    for label, scatter in enumerate(display.scatters_):
        expected = display.positions[labels == label]
        np.testing.assert_allclose(scatter.get_offsets(), expected)


def test_many_classes_have_no_legend_and_say_how_many_they_are():
    X, labels = points(3000, 1000)
    display = EmbeddingDisplay.from_embeddings(X, labels, max_samples=None)
    assert display.legend_ is None
    assert note_of(display) == "3,000 samples; 1,000 classes share 10 colours"
    (scatter,) = display.scatters_
    shared = [to_hex(color) for color in scatter.get_facecolor()[:11]]
    assert shared == [*COLORS, COLORS[0]]


def test_some_classes_are_named_on_the_map():
    X, labels = points(600, 26)
    names = np.array([f"$c_{i}$" for i in range(26)])
    X += 20 * np.eye(26)[:, :4][labels] + labels[:, None]
    display = EmbeddingDisplay.from_embeddings(X, names[labels])
    texts = {text.get_text(): text for text in display.ax_.texts}
    assert set(names) <= set(texts)
    for label, name in enumerate(names):
        x, y = texts[name].get_position()
        own = display.positions[labels == label]
        assert np.abs(own - (x, y)).max(axis=1).min() == 0
        assert not texts[name].get_parse_math()


def test_chosen_classes_stand_out():
    X, labels = points(3000, 1000)
    display = EmbeddingDisplay.from_embeddings(X, labels, highlight=[7, 990])
    assert [t.get_text() for t in display.legend_.get_texts()] == ["7", "990"]
    assert [len(s.get_offsets()) for s in display.scatters_] == [3, 3]
    assert "2 of 1,000 classes in colour" in note_of(display)
    with pytest.raises(ValueError, match=r"highlight must name.*unknown: \[1000\]"):
        display.plot(highlight=[1000])
    with pytest.raises(ValueError, match="got 11"):
        display.plot(highlight=range(11))


def test_large_inputs_are_sampled():
    X, labels = points(300, 5)
    images = np.arange(300)[:, None, None] * np.ones((1, 4, 4))
    display = EmbeddingDisplay.from_embeddings(
        X, labels, images=images, max_samples=50, random_state=0
    )
    assert display.positions.shape == (50, 2)
    assert note_of(display).startswith("50 of 300 samples, drawn at random")
    # Images and labels are of the same samples.
    np.testing.assert_array_equal(display.images[:, 0, 0] % 5, display.labels)


@pytest.mark.parametrize("n_thumbnails", [0, 1, 9, 500])
def test_thumbnails_do_not_cover_each_other(n_thumbnails):
    X, labels = points(400, 12)
    images = np.random.default_rng(0).random((400, 8, 8))
    display = EmbeddingDisplay.from_embeddings(
        X, labels, images=images, n_thumbnails=n_thumbnails
    )
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
    display = EmbeddingDisplay.from_embeddings(
        X, labels, images=np.zeros((50, 3, 3)), ax=right.subplots()
    )
    assert display.figure_ is right
    assert display.thumbnails_
    assert not left.axes


def test_maps_without_a_scale_have_no_ticks():
    X, labels = points(30, 3)
    display = EmbeddingDisplay.from_embeddings(X, labels, method="tsne", random_state=0)
    assert display.ax_.get_xlabel() == "t-SNE 1"
    assert not len(display.ax_.get_xticks())
    display = EmbeddingDisplay.from_embeddings(X, labels)
    assert display.ax_.get_aspect() == 1
    assert len(display.ax_.get_xticks())


def test_bad_input():
    X, labels = points(30, 3)
    with pytest.raises(ValueError, match=r"method must be one of .*got 'lda'"):
        EmbeddingDisplay.from_embeddings(X, labels, method="lda")
    with pytest.raises(ValueError, match="max_samples must be >= 2 or None, got 1"):
        EmbeddingDisplay.from_embeddings(X, labels, max_samples=1)
    with pytest.raises(ValueError, match="minimum of 2"):
        EmbeddingDisplay.from_embeddings(X[:, :1], labels)
    with pytest.raises(ValueError, match="images has 3 entries for 30 samples"):
        EmbeddingDisplay.from_embeddings(X, labels, images=np.zeros((3, 4, 4)))
    with pytest.raises(ValueError, match="n_thumbnails must be >= 0, got -1"):
        EmbeddingDisplay.from_embeddings(X, labels, n_thumbnails=-1)
