import sys
import unicodedata
from collections import Counter
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from sk_dml.datasets import load_glyphs
from tests.random_state import global_state


@pytest.fixture(scope="module")
def glyphs():
    """Return a small image of every class."""
    return load_glyphs(n_samples_per_class=1, image_size=16, jitter=1.0, random_state=0)


def test_shapes(glyphs):
    n_classes = len(glyphs.target_names)
    assert glyphs.images.shape == (n_classes, 16, 16)
    assert glyphs.images.dtype == np.uint8
    np.testing.assert_array_equal(glyphs.target, np.arange(n_classes))
    assert glyphs.target.dtype == np.int64
    assert glyphs.faces.shape == glyphs.target.shape
    assert len(set(glyphs.target_names)) == n_classes


def test_classes_are_in_ten_text_faces(glyphs):
    """Compare with the tables of the fonts, read by fontTools."""
    tt_font = pytest.importorskip("fontTools.ttLib").TTFont
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    faces = [
        f"{family}{style}.ttf"
        for family, slanted in (
            ("DejaVuSans", "Oblique"),
            ("DejaVuSansMono", "Oblique"),
            ("DejaVuSerif", "Italic"),
        )
        for style in ("", "-Bold", f"-{slanted}", f"-Bold{slanted}")
    ] + [f"STIXGeneral{style}.ttf" for style in ("", "Bol", "Italic", "BolIta")]
    counts = Counter()
    for face in faces:
        with tt_font(folder / face) as font:
            counts.update(map(chr, font.getBestCmap()))
    expected = {
        character
        for character, count in counts.items()
        if count >= 10 and (character.isalpha() or character.isdigit())
    }
    assert set(glyphs.target_names) == expected
    assert glyphs.target_names.tolist() == sorted(expected)
    assert set(glyphs.faces) <= set(faces)
    assert set("09AZaz\u03a9\u042f") <= expected
    assert {unicodedata.category(name)[0] for name in expected} <= {"L", "N"}


def test_every_image_shows_a_whole_character(glyphs):
    assert (glyphs.images.max(axis=(1, 2)) > 100).all()
    edges = glyphs.images.copy()
    edges[:, 1:-1, 1:-1] = 0
    assert edges.max() < 64  # only the blur of an edge


def test_letters_stand_upright():
    glyphs = load_glyphs(n_classes=62, n_samples_per_class=10, jitter=0, random_state=0)
    images = glyphs.images / 255
    share = {
        name: images[glyphs.target == k].mean(axis=0)
        for k, name in enumerate(glyphs.target_names)
    }
    for name, heavy in {"L": "bottom", "b": "bottom", "P": "top", "7": "top"}.items():
        rows = np.flatnonzero(share[name].sum(axis=1))
        top, bottom = np.array_split(share[name][rows[0] : rows[-1] + 1], 2)
        assert (top.sum() > bottom.sum()) == (heavy == "top"), name
    for name, heavy in {"E": "left", "F": "left", "J": "right", "3": "right"}.items():
        columns = np.flatnonzero(share[name].sum(axis=0) > 0.5)
        left, right = np.array_split(
            share[name][:, columns[0] : columns[-1] + 1], 2, axis=1
        )
        assert (left.sum() > right.sum()) == (heavy == "left"), name
    # Upper and lower case differ in size, and letters stand on a line.
    assert share["O"].sum() > 1.2 * share["o"].sum()
    last = {name: np.flatnonzero(share[name].sum(axis=1) > 0.3)[-1] for name in "Ppxy"}
    assert last["p"] > last["x"] + 2
    assert last["y"] > last["x"] + 2
    assert abs(last["P"] - last["x"]) <= 1


def test_classes_can_be_told_apart_across_faces():
    glyphs = load_glyphs(n_classes=36, image_size=16, random_state=0)
    X = glyphs.images.reshape(len(glyphs.images), -1) / 255
    is_train = np.char.startswith(glyphs.faces, "DejaVuSans")
    knn = KNeighborsClassifier(1).fit(X[is_train], glyphs.target[is_train])
    assert knn.score(X[~is_train], glyphs.target[~is_train]) > 0.5  # chance: 0.03


def test_faces_are_taken_in_turn():
    glyphs = load_glyphs(
        n_classes=2, n_samples_per_class=40, image_size=8, random_state=0
    )
    for k in range(2):
        faces = glyphs.faces[glyphs.target == k].reshape(-1)
        assert len(set(faces[:16])) == 16
        np.testing.assert_array_equal(faces[:16], faces[16:32])
    assert set(Counter(glyphs.faces.tolist()).values()) <= {4, 5, 6}


def test_random_state():
    options = {"n_samples_per_class": 3, "image_size": 16}
    before = global_state()
    first = load_glyphs(n_classes=4, random_state=0, **options)
    again = load_glyphs(n_classes=9, random_state=0, **options)
    other = load_glyphs(n_classes=4, random_state=1, **options)
    np.testing.assert_array_equal(first.images, again.images[:12])
    assert (first.images != other.images).any()
    assert global_state() == before
    X, y = load_glyphs(n_classes=4, random_state=0, return_X_y=True, **options)
    np.testing.assert_array_equal(X, first.images)
    np.testing.assert_array_equal(y, first.target)


def test_jitter_grows():
    """Images of one face differ more with more jitter."""

    def spread(jitter):
        glyphs = load_glyphs(
            n_classes=10,
            n_samples_per_class=48,
            image_size=16,
            jitter=jitter,
            random_state=0,
        )
        sans = glyphs.faces == "DejaVuSans.ttf"
        return [
            np.ptp(glyphs.images[sans & (glyphs.target == k)].astype(float), axis=0)
            .mean()
            .item()
            for k in range(10)
        ]

    small, large = spread(0.2), spread(1.0)
    assert min(small) > 0
    assert np.mean(large) > 1.5 * np.mean(small)


def test_equal_images_are_counted():
    with pytest.warns(UserWarning, match="8 of 40 images equal others") as record:
        glyphs = load_glyphs(n_classes=2, n_samples_per_class=20, jitter=0)
    assert record[0].filename == __file__
    rows = glyphs.images[:20].reshape(20, -1)
    assert len(np.unique(rows, axis=0)) == 16


@pytest.mark.parametrize("image_size", [8, 28, 105])
def test_image_size(image_size):
    images, _ = load_glyphs(
        n_classes=3, n_samples_per_class=2, image_size=image_size, return_X_y=True
    )
    assert images.shape == (6, image_size, image_size)
    assert images.max() > 100
    assert 0.02 < images.mean() / 255 < 0.3


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_classes": 0},
        {"n_classes": 10_000},
        {"n_samples_per_class": 0},
        {"image_size": 7},
        {"jitter": 1.1},
        {"jitter": -0.1},
    ],
)
def test_parameters_are_checked(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}.* must be"):
        load_glyphs(**wrong)


def test_missing_matplotlib_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match="load_glyphs requires matplotlib"):
        load_glyphs()
