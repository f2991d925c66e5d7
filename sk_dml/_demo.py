"""Demonstration: a summary in the terminal, and a page with pictures."""

import base64
import io
import unicodedata
from contextlib import contextmanager
from importlib import util
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from sk_dml import (
    CircleEmbedder,
    ClassDisjointKFold,
    __version__,
    class_disjoint_split,
    map_at_r,
)
from sk_dml.datasets import load_glyphs
from sk_dml.inspection import EmbeddingDisplay, RetrievalDisplay
from sk_dml.metrics import retrieval_scores

DESCRIPTION = """\
Shows in about a minute what sk_dml learns, and where raw features are better: retrieval
of characters never seen in training, accuracy on two tables, and searches scored on
unseen classes. Prints a summary and writes a page with pictures."""
PAGE = "sk_dml_demonstration.html"

N_CHARACTERS = 989  # the first ones, up to Georgian
UNSEEN = ("ARMENIAN", "GEORGIAN")
NOT_TRAINED = (*UNSEEN, "MODIFIER")  # the latter are small and raised
N_IMAGES, IMAGE_SIZE, N_EPOCHS, BATCH_SIZE = 7, 24, 3, 32
ROW_EPOCHS = 12
MARGINS, SEARCH_STEP, SEARCH_EPOCHS = (0.1, 0.25, 0.4), 12, 4
TABLES = {"wine": load_wine, "breast cancer": load_breast_cancer}
RAW, LEARNED = "raw pixels", "CircleEmbedder"
TITLES = {RAW: "Before: by raw pixels", LEARNED: "After: by the learned embedding"}
N_QUERIES, N_NEIGHBORS, N_MAPPED, DPI = 5, 5, 600, 110
# Expected seconds, for the progress bar.
DRAW, LEARN, TABLE, SEARCH, DIGITS, PAGE_SECONDS = 3, 16, 5, 8, 2, 4
SECONDS = DRAW + LEARN + TABLE * len(TABLES) + SEARCH + DIGITS + PAGE_SECONDS

LEGEND = (
    "What sk_dml learns, in about a minute. P@1: how often the nearest sample is of",
    "the same class. MAP@R: 1 if all samples of the class come before any other.",
)
WITHOUT_FONTS = (
    "1. Unseen classes: left out, as are part 3 and the page. They need the fonts",
    "   of matplotlib: python -m pip install matplotlib",
)


def demonstrate(random_state=0, *, page=PAGE, out=None):
    """Print a summary, write a page (None: no page), and return the figures."""
    has_fonts = util.find_spec("matplotlib") is not None
    figures = {}

    def show(*lines):
        for line in lines:
            tqdm.write(line, file=out)  # above the progress bar; None is stdout

    @contextmanager
    def step(text, seconds):
        bar.set_description_str(text)
        yield
        bar.update(seconds)

    show(*LEGEND)
    form = "{desc:<28}|{bar}| {percentage:3.0f} %"
    options = {"bar_format": form, "leave": False, "disable": None}  # in terminals only
    with one_thread(), tqdm(total=SECONDS, **options) as bar:
        if has_fonts:
            with step("drawing characters", DRAW):
                train, unseen = load_characters(random_state)
            bar.set_description_str("learning from characters")
            embeddings = learn(train, unseen, random_state, bar)
            figures["characters"] = scores_of(embeddings, unseen[1])
            n_train, n_unseen = (len(np.unique(y)) for _, y in (train, unseen))
            show(
                "",
                f"1. Unseen classes: {n_unseen} letters, after learning from {n_train} "
                "other characters",
                *retrieval_table(figures["characters"]),
            )
        else:
            show("", *WITHOUT_FONTS)

        figures["tables"] = {}
        for name, load in TABLES.items():
            with step(f"comparing on {name}", TABLE):
                figures["tables"][name] = accuracies(load, random_state)
        show(
            "",
            "2. Known classes: accuracy in 5-fold cross-validation",
            row("", *TABLES),
        )
        for model in figures["tables"]["wine"]:
            means = [table[model][0] for table in figures["tables"].values()]
            show(row(model, *means))

        if has_fonts:
            with step("searching for a margin", SEARCH):
                figures["margins"] = search_margin(train, random_state)
            scores, deviations = zip(*figures["margins"].values(), strict=True)
            show(
                "",
                "3. Which margin? MAP@R on held-out characters, deviations up to "
                f"{max(deviations):.3f}",
                row("margin", *map(str, MARGINS)),
                row("CircleEmbedder", *scores),
            )

        with step("learning from five digits", DIGITS):
            figures["digits"], figures["chosen"] = few_digits(random_state)
        show(
            "",
            "4. Few classes to learn from: digits 5 to 9, after learning from 0 to 4",
            *retrieval_table(figures["digits"]),
            "   A search over both, scored on held-out classes, chose: "
            + figures["chosen"],
        )
        if page is not None and has_fonts:
            with step("drawing the page", PAGE_SECONDS):
                html = make_page(figures, embeddings, unseen, random_state)
                Path(page).write_text(html, encoding="utf-8")
    if page is not None and has_fonts:
        show("", f"The page, with pictures: {Path(page).resolve()}")
    return figures


def row(name, *cells):
    """Return a line of a table."""
    texts = [cell if isinstance(cell, str) else f"{cell:.3f}" for cell in cells]
    return f"   {name:20}" + "".join(f"{text:>15}" for text in texts)


def retrieval_table(scores):
    """Return the lines of a table of P@1 and MAP@R."""
    return [row("", "P@1", "MAP@R"), *(row(name, *s) for name, s in scores.items())]


@contextmanager
def one_thread():
    """Compute with one thread, images too: other programs slow this down least."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(n_threads)


class Advance(Callback):
    """Advance a progress bar at the end of every epoch."""

    def __init__(self, bar):
        self.bar = bar

    def on_epoch_end(self, net, **kwargs):
        """Advance the bar."""
        self.bar.update(LEARN / N_EPOCHS)


def load_characters(random_state):
    """Return images and labels for training, and the same of unseen scripts."""
    glyphs = load_glyphs(
        n_classes=N_CHARACTERS,
        n_samples_per_class=N_IMAGES,
        image_size=IMAGE_SIZE,
        random_state=random_state,
    )
    labels = glyphs.target_names[glyphs.target]
    names = [unicodedata.name(character) for character in glyphs.target_names]
    is_unseen = np.array([name.startswith(UNSEEN) for name in names])
    is_trained = np.array([not name.startswith(NOT_TRAINED) for name in names])
    masks = is_trained[glyphs.target], is_unseen[glyphs.target]
    return [(glyphs.images[mask], labels[mask]) for mask in masks]


def learn(train, unseen, random_state, bar=None):
    """Return the unseen images as they are and embedded, by name."""
    embedder = CircleEmbedder(
        max_epochs=N_EPOCHS,
        batch_size=BATCH_SIZE,
        random_state=random_state,
        callbacks=None if bar is None else [Advance(bar)],
    )
    images = unseen[0]
    embedding = embedder.fit(*train).transform(images)
    return {RAW: images.reshape(len(images), -1) / 255, LEARNED: embedding}


def scores_of(embeddings, labels):
    """Return P@1 and MAP@R of every embedding."""
    scores = {name: retrieval_scores(X, labels) for name, X in embeddings.items()}
    return {name: (s["precision_at_1"], s["map_at_r"]) for name, s in scores.items()}


def accuracies(load, random_state):
    """Return the mean and standard deviation over the folds, by model."""
    X, y = load(return_X_y=True)
    neighbors = KNeighborsClassifier()
    embedder = CircleEmbedder(max_epochs=ROW_EPOCHS, random_state=random_state)
    models = {
        "k-NN, scaled columns": make_pipeline(StandardScaler(), neighbors),
        "gradient boosting": HistGradientBoostingClassifier(random_state=random_state),
        "CircleEmbedder, k-NN": make_pipeline(embedder, neighbors),
    }
    folds = StratifiedKFold(5, shuffle=True, random_state=random_state)
    scores = {name: cross_val_score(m, X, y, cv=folds) for name, m in models.items()}
    return {name: (values.mean(), values.std()) for name, values in scores.items()}


def search_margin(train, random_state):
    """Return the mean and standard deviation of MAP@R over the folds, by margin."""
    images, labels = train
    chosen = np.isin(labels, np.unique(labels)[::SEARCH_STEP])
    embedder = CircleEmbedder(
        max_epochs=SEARCH_EPOCHS, batch_size=BATCH_SIZE, random_state=random_state
    )
    search = search_on_unseen(embedder, {"margin": MARGINS}, random_state)
    results = search.fit(images[chosen], labels[chosen]).cv_results_
    scores = zip(results["mean_test_score"], results["std_test_score"], strict=True)
    return dict(zip(MARGINS, scores, strict=True))


def search_on_unseen(estimator, grid, random_state):
    """Return a search that is scored on classes held out of its fits."""
    folds = ClassDisjointKFold(2, shuffle=True, random_state=random_state)
    return GridSearchCV(estimator, grid, scoring=map_at_r, cv=folds, refit=False)


def few_digits(random_state):
    """Return scores on digits 5 to 9, and what a search on digits 0 to 4 chose."""
    X, y = load_digits(return_X_y=True)
    X, X_unseen, y, y_unseen = class_disjoint_split(X, y=y)
    embedder = CircleEmbedder(max_epochs=ROW_EPOCHS, random_state=random_state)
    embeddings = {RAW: X_unseen, LEARNED: embedder.fit(X, y).transform(X_unseen)}
    grid = {"embed": ["passthrough", embedder]}
    pipeline = Pipeline([("embed", "passthrough")])
    search = search_on_unseen(pipeline, grid, random_state).fit(X, y)
    chosen = RAW if search.best_params_["embed"] == "passthrough" else LEARNED
    return scores_of(embeddings, y_unseen), chosen


def make_page(figures, embeddings, unseen, random_state):
    """Return the page: HTML that needs nothing else."""
    import jinja2

    images, labels = unseen
    neighbors = {}
    for name, X in embeddings.items():
        neighbors[name] = draw_neighbors(
            {name: X}, images, labels, random_state, width=6
        )
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("sk_dml", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    templates.filters["uri"] = lambda png: (
        "data:image/png;base64," + base64.b64encode(png).decode()
    )
    return templates.get_template("_demo.html.jinja").render(
        figures,
        neighbors=neighbors,
        n_shown=N_QUERIES * N_NEIGHBORS,
        map=draw_map(embeddings[LEARNED], images, labels, random_state),
        n_epochs=N_EPOCHS,
        search_epochs=SEARCH_EPOCHS,
        batch_size=BATCH_SIZE,
        row_epochs=ROW_EPOCHS,
        random_state=random_state,
        version=__version__,
    )


def draw_neighbors(embeddings, images, labels, random_state, *, width):
    """Return a picture of random queries and their neighbors, and the number of hits.

    Every embedding has a panel, with the same queries.
    """
    rng = np.random.default_rng(random_state)
    classes = rng.choice(np.unique(labels), N_QUERIES, replace=False)
    queries = [rng.choice(np.flatnonzero(labels == name)) for name in classes]
    n_hits = 0

    def draw(figure):
        nonlocal n_hits
        panels = figure.subplots(1, len(embeddings), squeeze=False)[0]
        for ax, (name, X) in zip(panels, embeddings.items(), strict=True):
            ax.set_title(TITLES[name], loc="left")
            shown = {"items": images, "queries": queries, "n_neighbors": N_NEIGHBORS}
            display = RetrievalDisplay.from_embeddings(X, labels, ax=ax, **shown)
            n_hits += int(display.hits_.sum())

    return as_png(draw, figsize=(width, 6.2 if len(embeddings) == 1 else 5.4)), n_hits


def draw_map(X, images, labels, random_state):
    """Return a picture of a map of embeddings."""
    options = {"method": "tsne", "images": images, "max_samples": N_MAPPED}

    def draw(figure):
        EmbeddingDisplay.from_embeddings(
            X, labels, random_state=random_state, ax=figure.subplots(), **options
        )

    return as_png(draw, figsize=(8, 6.4))


def as_png(draw, *, figsize):
    """Return what ``draw`` draws on a figure, as the bytes of a small PNG."""
    import matplotlib.style
    from matplotlib.figure import Figure
    from PIL import Image  # a dependency of matplotlib

    drawn, png = io.BytesIO(), io.BytesIO()
    with matplotlib.style.context("default"):
        figure = Figure(figsize=figsize, dpi=DPI, layout="constrained")
        draw(figure)
        figure.savefig(drawn)
    # With a palette a file has a third of the size.
    Image.open(drawn).convert("RGB").quantize(128).save(png, "PNG", optimize=True)
    return png.getvalue()


def save_before_after(path, random_state=0):
    """Write the picture of the README: unseen letters before and after learning.

    python -c "from sk_dml import _demo as d; d.save_before_after('FILE.png')"
    """
    with one_thread():
        train, unseen = load_characters(random_state)
        embeddings = learn(train, unseen, random_state)
        images, labels = unseen
        png, _ = draw_neighbors(embeddings, images, labels, random_state, width=9)
    Path(path).write_bytes(png)
