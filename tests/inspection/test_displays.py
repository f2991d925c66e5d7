"""Properties of all displays."""

import ast
import re
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from matplotlib.text import Text
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from sk_dml import inspection
from sk_dml.inspection import TrainingDisplay

# Text that means something to TeX, to matplotlib or to a browser.
HOSTILE = [r"$\frac{1$", r"\input{x}", "<b>x</b>", "_hidden", "a\nb\x00\t$$", "{}%#&^~"]

DISPLAYS = {
    "map": (inspection.EmbeddingDisplay, {"max_samples": 20}),
    "retrieval": (inspection.RetrievalDisplay, {"n_queries": 3}),
    "density": (inspection.SimilarityDisplay, {"n_pairs": 50}),
    "plane": (inspection.SimilarityDisplay, {"kind": "plane", "n_anchors": 10}),
    "recall": (inspection.RecallCurveDisplay, {"k": [1, 5]}),
}
SEEDED = {name: DISPLAYS[name] for name in DISPLAYS if name != "recall"}


@pytest.fixture(params=DISPLAYS.values(), ids=list(DISPLAYS))
def display(request):
    return request.param


def n_drawn(ax):
    """Count what is drawn on axes."""
    return sum(map(len, (ax.lines, ax.collections, ax.patches, ax.images)))


def generators():
    """Read the global random number generators, whole."""
    name, keys, *rest = np.random.get_state()  # noqa: NPY002
    return name, keys.tobytes(), *rest, torch.get_rng_state().numpy().tobytes()


def numbers(display):
    """Collect the arrays that a display holds."""
    return {
        name: value
        for name, value in vars(display).items()
        if isinstance(value, np.ndarray) and value.dtype != object
    }


def test_draws_on_given_axes(display, blobs):
    cls, options = display
    shown = cls.from_embeddings(*blobs, **options)
    assert type(shown) is cls
    assert shown.figure_ is shown.ax_.figure
    ax = Figure().subplots()
    assert shown.plot(ax=ax) is shown
    assert shown.ax_ is ax
    assert shown.figure_ is ax.figure
    assert ax.get_title(loc="left")
    assert n_drawn(ax) == n_drawn(shown.plot().ax_) > 0
    given = Figure().subplots()
    assert cls.from_embeddings(*blobs, **options, ax=given).ax_ is given
    assert n_drawn(given)
    given.figure.draw_without_rendering()


@pytest.mark.parametrize("name", SEEDED)
def test_random_state_decides_everything(name, blobs):
    cls, options = SEEDED[name]
    before = generators()
    first, again, other = (
        numbers(cls.from_embeddings(*blobs, **options, random_state=seed))
        for seed in (3, 3, 4)
    )
    for name, value in first.items():
        np.testing.assert_array_equal(value, again[name])
    assert any(not np.array_equal(first[name], other[name]) for name in first)
    assert generators() == before


def test_estimators_are_embedded_first(display, blobs):
    cls, options = display
    X, labels = blobs
    pca = PCA(3).fit(X)
    if "k" not in options:
        options = {**options, "random_state": 0}
    expected = numbers(cls.from_embeddings(pca.transform(X), labels, **options))
    pipeline = make_pipeline(PCA(3), KNeighborsClassifier()).fit(X, labels)
    grid = {"pca__n_components": [3]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(X, labels)
    frames = PCA(3).set_output(transform="pandas").fit(X)
    for estimator in (pca, pipeline, search, frames):
        shown = cls.from_estimator(estimator, X, labels, **options)
        for name, value in numbers(shown).items():
            if value.dtype.kind == "f":
                np.testing.assert_allclose(value, expected[name], atol=1e-6)
            else:
                np.testing.assert_array_equal(value, expected[name])


@pytest.mark.parametrize("name", ["map", "retrieval"])
def test_labels_are_shown_as_they_are(name, blobs):
    cls, _ = DISPLAYS[name]
    labels = np.array(HOSTILE, dtype=object)[np.arange(42) % 6]
    options = {"queries": range(6)} if name == "retrieval" else {}
    shown = cls.from_embeddings(blobs[0], labels, **options)
    texts = shown.ax_.findobj(Text)
    for label in HOSTILE:
        line = " ".join(label.replace("\x00", "\N{REPLACEMENT CHARACTER}").split())
        found = [text for text in texts if text.get_text().split("\n")[0] == line]
        assert found, line
        for text in found:
            assert not text.get_parse_math()
            assert not text.get_usetex()
    shown.figure_.draw_without_rendering()


def with_text(text):
    """Return displays that show a text everywhere, and the number of times."""
    k, recall = np.array([1, 2]), np.array([0.5, 0.7])
    flat = np.array([0.1, 0.4])
    pairs = {"positive_similarities": flat, "negative_similarities": flat, "note": text}
    points = np.array([[0.0, 1.0], [2.0, 3.0]])
    names = {"axis_names": (text, text), "note": text}
    history = [{f"train_{text}": 1.0, f"valid_{text}": 2.0, text: 3.0}]
    return {
        "map": (inspection.EmbeddingDisplay(points, [text, "b"], **names), 4),
        "retrieval": (
            inspection.RetrievalDisplay(
                [0], [[1]], [[0.5]], [text, text], items=[text, text], note=text
            ),
            3,
        ),
        "density": (inspection.SimilarityDisplay(**pairs), 1),
        "plane": (inspection.SimilarityDisplay(**pairs, kind="plane"), 1),
        "recall": (inspection.RecallCurveDisplay(k, recall, name=text, note=text), 2),
        "training": (TrainingDisplay(history, name=text), 5),
    }


@pytest.mark.parametrize(
    ("name", "text"), list(zip([*DISPLAYS, "training"], HOSTILE, strict=True))
)
def test_no_text_reaches_tex(name, text):
    display, n_texts = with_text(text)[name]
    display.plot()
    line = text.replace("\x00", "\N{REPLACEMENT CHARACTER}").replace("_", " ")
    line = " ".join(line.split())
    found = [
        artist
        for artist in display.figure_.findobj(Text)
        for _ in range(artist.get_text().replace("_", " ").count(line))
    ]
    assert len(found) >= n_texts
    assert not any(artist.get_parse_math() or artist.get_usetex() for artist in found)
    display.figure_.draw_without_rendering()


BROKEN = {
    "map": {"scatter_kwargs": {"nonsense": 1}},
    "retrieval": {"items": ["a"]},
    "density": {"hist_kwargs": {"nonsense": 1}},
    "plane": {"kind": "plane", "scatter_kwargs": {"nonsense": 1}},
    "recall": {"line_kwargs": {"nonsense": 1}},
}


@pytest.mark.parametrize("name", BROKEN)
def test_failed_drawings_leave_no_figure(name, blobs):
    with pytest.raises((AttributeError, ValueError)):
        DISPLAYS[name][0].from_embeddings(*blobs, **BROKEN[name])
    with pytest.raises(ValueError, match="history must hold"):
        TrainingDisplay([]).plot()
    with pytest.raises(AttributeError, match="nonsense"):
        TrainingDisplay([{"lr": 1.0}]).plot(line_kwargs={"nonsense": 1})
    assert not plt.get_fignums()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("map", {"scatter_kwargs": {"color": "k", "lw": 3}}),
        ("map", {"scatter_kwargs": {"fc": "k", "linewidths": 3}}),
        ("plane", {"scatter_kwargs": {"color": "k", "linewidth": 3}}),
        ("density", {"hist_kwargs": {"fc": "k", "lw": 3}}),
        ("density", {"hist_kwargs": {"color": "k", "linewidth": 3}}),
        ("recall", {"line_kwargs": {"c": "k", "lw": 3}}),
        ("training", {"line_kwargs": {"c": "k", "lw": 3}}),
    ],
)
def test_styles_override_the_defaults_by_any_name(name, options, blobs):
    if name == "training":
        artist = TrainingDisplay([{"lr": 1.0}]).plot(**options).lines_["lr"]
    else:
        cls, others = DISPLAYS[name]
        display = cls.from_embeddings(*blobs, **others, **options)
        artist = {
            "map": lambda: display.scatters_[0],
            "plane": lambda: display.scatter_,
            "density": lambda: display.histograms_[0][0],
            "recall": lambda: display.line_,
        }[name]()
    is_line = hasattr(artist, "get_color")
    color = artist.get_color() if is_line else artist.get_facecolor()
    assert same_color(np.ravel(color)[:3] if not is_line else color, "k")
    assert np.ravel(artist.get_linewidth())[0] == 3


def test_bad_input(display, blobs):
    cls, options = display
    X, labels = blobs
    with pytest.raises(ValueError, match="labels has 41 entries and X has 42 rows"):
        cls.from_embeddings(X, labels[1:], **options)
    with pytest.raises(ValueError, match="labels holds 1 missing labels"):
        cls.from_embeddings(X, [None, *labels[1:]], **options)
    with pytest.raises(ValueError, match="X contains NaN"):
        cls.from_embeddings(np.where(X > 1, np.nan, X), labels, **options)
    knn = KNeighborsClassifier().fit(X, labels)
    with pytest.raises(TypeError, match=r"KNeighborsClassifier has no transform"):
        cls.from_estimator(knn, X, labels, **options)


def test_error_without_matplotlib(display, blobs, monkeypatch):
    cls, options = display
    shown = cls.from_embeddings(*blobs, **options)
    pca = PCA(3).fit(blobs[0])
    training = TrainingDisplay([{"epoch": 1, "train_loss": 1.0}])
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    name = cls.__name__
    for caller, call in (
        (f"{name}.plot", shown.plot),
        (f"{name}.from_embeddings", lambda: cls.from_embeddings(*blobs)),
        (f"{name}.from_estimator", lambda: cls.from_estimator(pca, *blobs)),
        ("TrainingDisplay.plot", training.plot),
    ):
        with pytest.raises(ImportError, match=f"{caller} requires matplotlib"):
            call()


def test_importing_needs_no_matplotlib():
    for path in Path(inspection.__file__).parent.glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                assert not re.search(r"\bmatplotlib\b", ast.unparse(node)), path
