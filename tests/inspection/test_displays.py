"""What all displays have in common."""

import ast
import re
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from sk_dml import inspection
from sk_dml.inspection import TrainingDisplay

# Text that means something to TeX, to matplotlib or to a browser.
HOSTILE = [r"$\frac{1$", r"\input{x}", "<b>x</b>", "_hidden", "a\nb\x00\t$$", "{}%#&^~"]

DISPLAYS = {
    "map": (inspection.EmbeddingDisplay, {}),
    "retrieval": (inspection.RetrievalDisplay, {"n_queries": 3}),
    "density": (inspection.SimilarityDisplay, {"n_pairs": 50}),
    "plane": (inspection.SimilarityDisplay, {"kind": "plane", "n_anchors": 10}),
    "recall": (inspection.RecallCurveDisplay, {"max_queries": 20}),
}


@pytest.fixture(params=DISPLAYS.values(), ids=list(DISPLAYS))
def display(request):
    return request.param


def drawn(ax):
    """Render a picture, and read its texts."""
    ax.figure.draw_without_rendering()
    return [
        text.get_text() for text in ax.figure.findobj(lambda a: hasattr(a, "get_text"))
    ]


def numbers(display):
    """Collect the arrays that a display holds."""
    return {
        name: value
        for name, value in vars(display).items()
        if isinstance(value, np.ndarray) and value.dtype != object
    }


def test_draws_where_it_is_told(display, blobs):
    cls, options = display
    shown = cls.from_embeddings(*blobs, **options, random_state=0)
    assert type(shown) is cls
    assert shown.figure_ is shown.ax_.figure
    ax = Figure().subplots()
    assert shown.plot(ax=ax) is shown
    assert shown.ax_ is ax
    assert shown.figure_ is ax.figure
    assert ax.get_title(loc="left")
    assert drawn(ax)
    given = Figure().subplots()
    assert cls.from_embeddings(*blobs, **options, random_state=0, ax=given).ax_ is given


def test_random_state_decides_all(display, blobs):
    cls, options = display
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first, again = (
        numbers(cls.from_embeddings(*blobs, **options, random_state=3))
        for _ in range(2)
    )
    assert first
    for name, value in first.items():
        np.testing.assert_array_equal(value, again[name])
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_estimators_are_embedded_first(display, blobs):
    cls, options = display
    X, labels = blobs
    pca = PCA(3).fit(X)
    expected = numbers(
        cls.from_embeddings(pca.transform(X), labels, **options, random_state=0)
    )
    pipeline = make_pipeline(PCA(3), KNeighborsClassifier()).fit(X, labels)
    grid = {"pca__n_components": [3]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(X, labels)
    frames = PCA(3).set_output(transform="pandas").fit(X)
    for estimator in (pca, pipeline, search, frames):
        shown = cls.from_estimator(estimator, X, labels, **options, random_state=0)
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
    texts = shown.ax_.findobj(matplotlib.text.Text)
    for label in HOSTILE:
        line = " ".join(label.replace("\x00", "\N{REPLACEMENT CHARACTER}").split())
        found = [text for text in texts if text.get_text().split("\n")[0] == line]
        assert found, line
        for text in found:
            assert not text.get_parse_math()
            assert not text.get_usetex()
    drawn(shown.ax_)


def test_bad_input(display, blobs):
    cls, options = display
    X, labels = blobs
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        cls.from_embeddings(X, labels[1:], **options)
    with pytest.raises(ValueError, match="labels holds 1 missing labels"):
        cls.from_embeddings(X, [None, *labels[1:]], **options)
    with pytest.raises(ValueError, match="X contains NaN"):
        cls.from_embeddings(np.where(X > 1, np.nan, X), labels, **options)
    knn = KNeighborsClassifier().fit(X, labels)
    with pytest.raises(TypeError, match=r"KNeighborsClassifier\(\) has no transform"):
        cls.from_estimator(knn, X, labels, **options)


def test_without_matplotlib_it_says_what_to_install(display, blobs, monkeypatch):
    cls, options = display
    shown = cls.from_embeddings(*blobs, **options, random_state=0)
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


def test_titles_of_axes_stay(blobs):
    ax = Figure().subplots()
    ax.set_title("mine")
    inspection.EmbeddingDisplay.from_embeddings(*blobs, ax=ax)
    assert ax.get_title() == "mine"
    assert ax.get_title(loc="left") == ""
