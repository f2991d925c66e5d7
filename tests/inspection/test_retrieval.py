import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import imsave
from sklearn.preprocessing import FunctionTransformer

from sk_dml.inspection import RetrievalDisplay, _base

NAMES = ["ant", "bee", "cat", "dog", "eel", "fox"]

draw = RetrievalDisplay.from_embeddings


def texts(display):
    return [text.get_text() for text in display.ax_.findobj(matplotlib.text.Text)]


def test_right_and_wrong_differ_in_color_and_in_line(blobs):
    X, labels = blobs
    display = draw(X, labels, queries=[0, 10, 20, 30, 40], n_neighbors=5)
    assert 0 < display.hits_.mean() < 1
    expected = labels[display.neighbor_indices] == labels[display.query_indices, None]
    np.testing.assert_array_equal(display.hits_, expected)
    assert texts(display).count(f"{labels[0]}\n6 to find") == 0
    assert texts(display).count("6 to find") == 5
    for frame, is_hit in zip(display.frames_.flat, display.hits_.flat, strict=True):
        color = _base.SAME if is_hit else _base.OTHER
        assert to_hex(frame.get_edgecolor()) == color
        assert (frame.get_linestyle() in ("-", "solid")) == is_hit
    crosses = [line for line in display.ax_.get_lines() if line.get_marker() == "X"]
    assert len(crosses) == (~display.hits_).sum()
    assert {"query", "nearest", "2nd", "3rd", "4th", "5th"} <= set(texts(display))


def test_neighbors_are_the_nearest(blobs):
    X, labels = blobs
    display = draw(X, labels, queries=[3], n_neighbors=41)
    distances = np.linalg.norm(X - X[3], axis=1)
    expected = np.argsort(distances)[1:]
    np.testing.assert_array_equal(display.neighbor_indices[0], expected)
    np.testing.assert_allclose(display.distances[0], distances[expected])
    # Copies of the query are neighbors, and large labels stay apart.
    codes = [2**60, 2**60 + 1, 2**60, 2**60 + 1]
    display = draw(np.ones((4, 2)), codes, queries=[0, 3], n_neighbors=3)
    assert np.sort(display.neighbor_indices).tolist() == [[1, 2, 3], [0, 1, 2]]
    assert display.hits_.sum(axis=1).tolist() == [1, 1]


def test_a_gallery_is_searched(blobs):
    X, labels = blobs
    items = {"items": [f"query {i}" for i in range(21)], "queries": [0, 20]}
    gallery = {
        "gallery_labels": labels,
        "gallery_items": [*map("item {}".format, range(42))],
    }
    display = draw(X[::2], labels[::2], gallery=X, n_neighbors=3, **items, **gallery)
    # A query is not left out of a gallery, and here it is in it.
    assert display.neighbor_indices[:, 0].tolist() == [0, 40]
    shown = [text for text in texts(display) if text.startswith(("query ", "item "))]
    expected = [f"item {i}" for i in display.neighbor_indices.ravel()]
    assert shown == ["query 0", *expected[:3], "query 20", *expected[3:]]
    assert sum(text.endswith("\n7 to find") for text in texts(display)) == 2
    assert "searched among 42 of a gallery" in " ".join(texts(display))


def test_images_are_drawn_row_by_row(blobs):
    X, labels = blobs
    images = np.arange(42)[:, None, None] * np.ones((4, 6))
    display = draw(X, labels, items=images, queries=[5, 9], n_neighbors=2)
    order = [[q, *n] for q, n in zip([5, 9], display.neighbor_indices, strict=True)]
    order = np.ravel(order)
    shown = np.array([image.get_array()[0, 0] for image in display.ax_.get_images()])
    # Bright by the range of all images, shown or not.
    np.testing.assert_allclose(shown, order / 41)
    lefts = [image.get_extent()[0] for image in display.ax_.get_images()]
    assert lefts[:3] == sorted(lefts[:3])
    assert lefts[:3] == lefts[3:]


def test_files_are_drawn(blobs, tmp_path):
    X, labels = blobs
    paths = [tmp_path / f"{i}.png" for i in range(42)]
    for i, path in enumerate(paths):
        imsave(path, np.full((3, 3), i), vmin=0, vmax=255, cmap="gray")
    display = draw(X, labels, items=paths, queries=[7], n_neighbors=3)
    shown = [image.get_array()[0, 0, 0] for image in display.ax_.get_images()]
    expected = np.array([7, *display.neighbor_indices[0]]) / 255
    np.testing.assert_allclose(shown, expected, atol=1e-6)
    paths[7].write_bytes(b"no image")
    for query in (7, 30):  # where it is the query, and a neighbor
        with pytest.raises(ValueError, match=r"item 7, .*/7\.png', is not: "):
            draw(X, labels, items=paths, queries=[query], n_neighbors=41)


def test_long_text_stays_in_its_cell(blobs):
    X, labels = blobs
    items = [f"{i} " + "some words $x^2$ " * 40 for i in range(42)]
    items[1] = "x" * 500
    display = draw(X, labels, items=items, n_neighbors=6, queries=[0, 1])
    display.figure_.draw_without_rendering()
    cells = [text for text in display.ax_.texts if "…" in text.get_text()]
    assert len(cells) >= 14
    frames = [p.get_window_extent() for p in display.ax_.patches]
    for text in cells[:14]:
        box = text.get_window_extent()
        corners = [(box.x0, box.y0), (box.x1, box.y1)]
        assert any(all(f.contains(*corner) for corner in corners) for f in frames)


@pytest.mark.parametrize("n_neighbors", [3, 40])
def test_letters_are_legible_and_cells_fill_the_figure(blobs, n_neighbors):
    X, labels = blobs
    names = np.char.add("a long name of ", labels)
    options = {"n_neighbors": n_neighbors, "n_queries": 2, "random_state": 0}
    display = draw(X, names, items=np.zeros((42, 4, 4)), **options)
    figure = display.figure_
    figure.draw_without_rendering()
    assert figure.get_figwidth() < 21
    assert min(text.get_fontsize() for text in display.ax_.texts) >= 6
    boxes = [text.get_window_extent() for text in display.ax_.texts]
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i])
    legend = display.ax_.get_legend().get_window_extent()
    assert 0 <= legend.y0 < 0.2 * figure.dpi
    assert max(box.x1 for box in boxes) <= figure.bbox.x1
    crosses = [line for line in display.ax_.lines if line.get_marker() == "X"]
    assert crosses
    assert not any(cross.get_clip_on() for cross in crosses)


def test_letters_are_legible_on_small_axes(blobs):
    X, labels = blobs
    axes = Figure(figsize=(9, 7), layout="constrained").subplots(2, 2)
    for ax in axes.diagonal():
        display = draw(
            X, labels, items=np.zeros((42, 4, 4)), n_queries=3, ax=ax, random_state=0
        )
        assert min(text.get_fontsize() for text in ax.texts) >= 6
    display.figure_.draw_without_rendering()
    cells = [image.get_window_extent() for image in display.ax_.get_images()]
    for text in display.ax_.texts:
        box = text.get_window_extent()
        assert not any(box.overlaps(cell) for cell in cells), text


def test_what_samples_look_like_by_default(blobs):
    X, labels = blobs
    rows = FunctionTransformer().fit(X)
    display = RetrievalDisplay.from_estimator(rows, X, labels, n_neighbors=2)
    assert not display.ax_.get_images()
    assert labels[display.query_indices[0]] in texts(display)
    images = X.reshape(42, 5, 1)
    flat = FunctionTransformer(lambda X: X.reshape(len(X), -1)).fit(images)
    options = {"gallery": images, "gallery_labels": labels, "n_neighbors": 2}
    display = RetrievalDisplay.from_estimator(
        flat, images[::2], labels[::2], random_state=0, **options
    )
    assert display.items.shape == (21, 5, 1)
    assert display.gallery_items is images
    assert len(display.ax_.get_images()) == 3 * len(display.query_indices)


def test_queries_without_relevant_samples():
    X = np.random.default_rng(0).normal(size=(9, 3))
    labels = list("aabbccdef")
    with pytest.warns(UserWarning, match="3 of 9 samples are left out"):
        display = draw(X, labels, n_queries=9)
    assert display.query_indices.tolist() == [0, 1, 2, 3, 4, 5]
    display = draw(X, labels, queries=[8])
    assert not display.hits_.any()
    assert any("0 to find" in text for text in texts(display))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_neighbors": 42}, "n_neighbors=42 is larger than 41"),
        ({"n_queries": 0}, "n_queries must be >= 1, got 0"),
        ({"queries": [42]}, r"queries must be .* from 0 to 41, got \[42\]"),
        ({"queries": [0.5]}, "queries must be a list of indices from 0 to 41"),
        ({"metric": "manhattan"}, "metric must be one of .*got 'manhattan'"),
        ({"gallery": [[0.0] * 5]}, "go together, got only gallery"),
        ({"gallery_labels": ["a"]}, "go together, got only gallery_labels"),
        (
            {"gallery": [[0.0] * 3] * 6, "gallery_labels": NAMES},
            r"has 5 features .* has 3",
        ),
        ({"gallery_items": ["a"]}, "gallery_items needs a gallery"),
        ({"items": ["a"]}, "items must be 42, one for each sample, got 1"),
    ],
)
def test_bad_input(blobs, options, message):
    X, labels = blobs
    with pytest.raises(ValueError, match=message):
        draw(X, labels, **options)
    gallery = {"gallery": X, "gallery_labels": labels, "items": labels}
    with pytest.raises(ValueError, match="go together, got only items"):
        draw(X, labels, **gallery)
    with pytest.raises(ValueError, match="gallery_items must be text, got an array"):
        draw(X, labels, gallery_items=np.zeros((42, 2, 2)), **gallery)
