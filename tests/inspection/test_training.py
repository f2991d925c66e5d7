import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from sk_dml import CircleEmbedder
from sk_dml._training._callbacks import RECORDED
from sk_dml.inspection import TrainingDisplay
from sk_dml.inspection._training import DIAGNOSTICS, LEFT_OUT

FULL = [
    {
        "epoch": epoch,
        "train_loss": 1 / epoch,
        "valid_loss": 2 / epoch,
        "valid_loss_best": True,
        "valid_score": np.float32(epoch / 10),
        "lr": 1e-3 * epoch,
        "duration": 0.5,
        "event_name": "x",
    }
    for epoch in range(1, 6)
]


def texts_of(display):
    return [text.get_text() for text in display.figure_.axes[0].texts]


def test_embedders_wherever_they_are():
    X, y = load_iris(return_X_y=True)
    embedder = CircleEmbedder(2, max_epochs=2, random_state=0)
    pipeline = make_pipeline(PCA(), embedder, KNeighborsClassifier()).fit(X, y)
    search = GridSearchCV(pipeline, {"pca__n_components": [3]}, cv=2).fit(X, y)
    for estimator, trained in (
        (pipeline, pipeline[1]),
        (search, search.best_estimator_[1]),
        (pipeline[1], pipeline[1]),
        (make_pipeline(pipeline), pipeline[1]),
    ):
        display = TrainingDisplay.from_estimator(estimator)
        line = display.lines_["train_loss"]
        assert list(line.get_xdata()) == [1, 2]
        assert list(line.get_ydata()) == trained.loss_curve_
        assert display.ax_.get_title(loc="left") == "Training of CircleEmbedder"
        assert display.ax_.get_ylabel() == "train loss"
    display = TrainingDisplay.from_estimator(pipeline, diagnostics=True)
    names = ["lr", "mean_similarity", "effective_rank", "gradient_norm"]
    assert [*display.lines_] == ["train_loss", *names]
    for other in (CircleEmbedder(), PCA(), make_pipeline(PCA())):
        with pytest.raises(TypeError, match="has no history_"):
            TrainingDisplay.from_estimator(other)


def test_other_keys_are_drawn_always():
    always = {"train_loss", "valid_score", "lr"}
    assert {*RECORDED} - {*DIAGNOSTICS} - {*LEFT_OUT} == always
    assert {*DIAGNOSTICS} < {*RECORDED}


def test_every_quantity_has_its_panel():
    display = TrainingDisplay(FULL).plot()
    assert [*display.lines_] == ["train_loss", "valid_loss", "valid_score", "lr"]
    assert [ax.get_ylabel() for ax in display.axes_] == ["loss", "valid score", "lr"]
    assert display.ax_ is display.axes_[0]
    assert [len(ax.get_lines()) for ax in display.axes_] == [2, 1, 1]
    losses = display.axes_[0].get_lines()
    assert losses[0].get_linestyle() != losses[1].get_linestyle()
    texts = display.axes_[0].get_legend().get_texts()
    assert [text.get_text() for text in texts] == ["train loss", "valid loss"]
    assert texts_of(display) == ["5 epochs, 2.5 s"]
    display.figure_.draw_without_rendering()
    history = [{"train_loss": 2.0}, {"train_loss": 1.0, "valid_loss": 1.5}]
    display = TrainingDisplay(history).plot(Figure().subplots())
    assert list(display.lines_["train_loss"].get_xdata()) == [1, 2]
    assert list(display.lines_["valid_loss"].get_xdata()) == [2]


def test_the_best_epoch_is_marked():
    display = TrainingDisplay(FULL, best_epoch=4).plot()
    assert len(display.best_lines_) == len(display.axes_) == 3
    for line, panel in zip(display.best_lines_, display.axes_, strict=True):
        assert line.axes is panel
        assert {*line.get_xdata()} == {4}
    note = "5 epochs, 2.5 s; best epoch (dotted): 4, valid score 0.400"
    assert note in texts_of(display)
    without_score = [{"train_loss": 2.0}, {"train_loss": 1.0}]
    display = TrainingDisplay(without_score, best_epoch=2).plot()
    assert texts_of(display)[0].endswith("(dotted): 2")
    assert TrainingDisplay(FULL).plot().best_lines_ == []
    with pytest.raises(ValueError, match="got 6; the history ends with epoch 5"):
        TrainingDisplay(FULL, best_epoch=6).plot()


def test_the_best_epoch_of_an_embedder():
    X, y = load_iris(return_X_y=True)
    embedder = CircleEmbedder(2, max_epochs=3, random_state=0)
    assert TrainingDisplay.from_estimator(embedder.fit(X, y)).best_lines_ == []
    embedder.set_params(early_stopping=True).fit(X, y)
    display = TrainingDisplay.from_estimator(embedder)
    assert [*display.lines_] == ["train_loss", "valid_score", "lr"]
    assert {*display.best_lines_[1].get_xdata()} == {embedder.best_epoch_}
    scores = display.lines_["valid_score"].get_ydata()
    assert scores[embedder.best_epoch_ - 1] == max(scores) == embedder.best_score_


def test_axes_are_given_one_for_each_quantity():
    axes = Figure().subplots(3)
    display = TrainingDisplay(FULL).plot(axes)
    assert display.axes_.tolist() == axes.tolist()
    with pytest.raises(ValueError, match=r"ax must be 3 axes for .*, got 1"):
        TrainingDisplay(FULL).plot(Figure().subplots())
    assert len(TrainingDisplay(FULL).plot(axes).axes_[0].get_legend().get_texts()) == 2
    for history in ([], [{"epoch": 1, "event": "x", "best": True}]):
        with pytest.raises(ValueError, match="history must hold a row for every"):
            TrainingDisplay(history).plot()
