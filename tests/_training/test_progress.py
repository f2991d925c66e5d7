import io
import os
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from joblib import Parallel, delayed
from skorch.callbacks import Callback

from sk_dml import CircleEmbedder
from sk_dml._training._progress import (
    NotebookScreen,
    ProgressBar,
    TerminalScreen,
    duration,
)

rng = np.random.default_rng(0)
X, y = rng.normal(size=(40, 3)), np.arange(40) % 4


def fit(**params):
    settings = {"max_epochs": 3, "random_state": 0, **params}
    return CircleEmbedder(**settings).fit(X, y)


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    stream = Terminal()
    # pytest sets sys.stderr itself, after the fixtures.
    seen = SimpleNamespace(stderr=stream, modules=sys.modules)
    monkeypatch.setattr("sk_dml._training._progress.sys", seen)
    set_width(monkeypatch, 80)
    return stream


def set_width(monkeypatch, columns):
    # Not of shutil itself, which pytest asks too.
    size = SimpleNamespace(get_terminal_size=lambda: os.terminal_size((columns, 24)))
    monkeypatch.setattr("sk_dml._training._progress.shutil", size)


class Screen:
    """Keeps what was drawn."""

    def __init__(self):
        self.drawn = []

    def draw(self, name, epoch, share, facts, closing):
        self.drawn.append((epoch, round(share, 3), ", ".join(facts), closing))


class Training:
    """Four batches an epoch, of equal times; in the first epoch of three times that."""

    def __init__(self, n_epochs, trained=0, seconds=1):
        self.now = 100.0
        self.history = [{}] * trained
        self.screen = Screen()
        self.bar = ProgressBar("Net", n_epochs, self.screen, clock=lambda: self.now)
        self.seconds, self.factor = seconds, 3

    def get_iterator(self, dataset, training):
        return range(4)

    def epoch(self, n_batches=4, **row):
        self.history.append({"batches": [{"train_loss": 9.0}]})
        self.bar.on_epoch_begin(self)
        for _ in range(n_batches):
            self.now += self.factor * self.seconds
            self.bar.on_batch_end(self)
        if n_batches == 4:
            self.history[-1] |= row
            self.bar.on_epoch_end(self)
            self.factor = 1
        return self.screen.drawn[-1] if self.screen.drawn else None


# What the bar says


def test_bar_within_and_after_the_first_epoch():
    training = Training(n_epochs=10)
    training.epoch(train_loss=0.123456)
    first, *_, last = training.screen.drawn
    assert first == ("epoch  1/10", 0.025, "loss 9, 1:57 min left", False)
    assert last[:2] == ("epoch  1/10", 0.1)


def test_time_left_forgets_the_slow_first_epoch_and_shows_the_score():
    training = Training(n_epochs=10)
    training.epoch(train_loss=2)
    drawn = training.epoch(train_loss=0.123456, valid_score=0.91234)
    assert drawn == ("epoch  2/10", 0.2, "loss 2, 32 s left", False)
    assert training.epoch(1)[2] == "loss 0.1235, score 0.912, 31 s left"


def test_time_left_of_a_training_that_goes_on():
    training = Training(n_epochs=10, trained=6)
    assert training.epoch(train_loss=1)[:2] == ("epoch  7/10", 0.7)
    assert training.epoch(2)[2] == "loss 1, 10 s left"


def test_closing_says_what_was_reached():
    training = Training(n_epochs=10)
    training.epoch(train_loss=1)
    training.epoch(2)
    training.bar.close()
    assert training.screen.drawn[-1] == ("epoch  2/10", 0.15, "loss 1, in 14 s", True)


def test_nothing_is_drawn_before_the_first_epoch():
    training = Training(n_epochs=10)
    training.bar.close()
    assert training.screen.drawn == []


def test_drawings_are_few():
    training = Training(n_epochs=100, seconds=0.0101)
    for _ in range(100):
        training.epoch(train_loss=1)
    times = 400 * 0.0101 / 0.1
    assert 0.9 * times <= len(training.screen.drawn) <= times


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.04, "0.0 s"),
        (9.96, "10 s"),
        (59.6, "1:00 min"),
        (3599.6, "1:00:00 h"),
        (100 * 3600, "100:00:00 h"),
    ],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


# Where it is drawn


def test_terminal_shows_a_bar_and_ends_the_line(terminal, capsys):
    embedder = fit(verbose=1)
    assert capsys.readouterr().out == ""
    *_, last, end = terminal.getvalue().split("\r")[-1].split("\n")
    assert last.startswith("CircleEmbedder: epoch 3/3 ██")
    assert f"loss {embedder.loss_curve_[-1]:.4g}, in " in last
    assert end == ""


FACTS = ["loss 0.1234", "score 0.123", "1:23 min left"]


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 200])
def test_lines_fit_into_the_terminal(columns, terminal, monkeypatch):
    set_width(monkeypatch, columns)
    screen = TerminalScreen(terminal)
    for facts in ["loss 1"], FACTS, ["loss 2"]:
        screen.draw("LongNamedEmbedder", "epoch  10/100", 0.1, facts, False)
    lines = terminal.getvalue().split("\r")[1:]
    assert all(len(line) < columns for line in lines)
    assert all("epoch  10/100" in line for line in lines)
    assert ("LongNamed" in lines[1]) == (columns == 200)  # the first to go
    # What is left of a longer line is wiped.
    assert len(lines[2]) >= len(lines[1].rstrip())


def test_narrow_terminals_show_whole_facts(terminal, monkeypatch):
    whole = ["", "epoch  10/100"]
    whole += [f"epoch  10/100 {', '.join(FACTS[:n])}" for n in (1, 2, 3)]
    for columns in range(1, 62):
        set_width(monkeypatch, columns)
        TerminalScreen(terminal).draw("Net", "epoch  10/100", 0.1, FACTS, False)
        line = terminal.getvalue().rsplit("\r", 1)[1]
        assert len(line) < columns
        line = re.sub(" ?[█░]+", "", line)
        assert line == max((w for w in whole if len(w) < columns), key=len)


def test_terminal_without_block_characters(terminal):
    terminal.encoding = "ascii"
    TerminalScreen(terminal).draw("Net", "epoch 1/2", 0.5, ["loss 1"], True)
    assert terminal.getvalue() == f"\rNet: epoch 1/2 {'#' * 15}{'.' * 15} loss 1\n"


def test_terminal_that_goes_away_stops_no_training(terminal):
    terminal.close()
    assert fit(verbose=1).n_iter_ == 3


def test_the_line_ends_before_an_error(terminal):
    class Fail(Callback):
        def on_epoch_end(self, net, **kwargs):
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        fit(verbose=1, callbacks=[Fail])
    assert terminal.getvalue().endswith("\n")
    assert "epoch 1/3" in terminal.getvalue()


def checkpointed(tmp_path, verbose):
    """Fit three times: interrupted in epoch 3 of 4, to the end, and once more."""

    class Interrupt(Callback):
        def on_batch_end(self, net, **kwargs):
            if len(net.history) == 3 and not interrupted:
                interrupted.append(True)
                raise KeyboardInterrupt

        def state_dict(self):
            return {}

        def load_state_dict(self, state):
            pass

    interrupted = []
    params = {"checkpoint_dir": tmp_path, "max_epochs": 4, "callbacks": [Interrupt()]}
    with pytest.warns(UserWarning, match="interrupted in epoch 3 of 4"):
        fit(**params)
    for _ in range(2):
        fit(**params, verbose=verbose)
    place = str(tmp_path / "checkpoint.safetensors")
    return [
        f"CircleEmbedder: goes on after epoch 2, from {place!r}",
        f"CircleEmbedder: was trained already, loaded from {place!r}",
    ]


def test_terminal_tells_of_checkpoints(terminal, capsys, tmp_path):
    first, second = checkpointed(tmp_path, 1)
    start, bar, *end = terminal.getvalue().split("\n")
    assert (start, end) == (first, [second, ""])
    assert "epoch 4/4" in bar.split("\r")[-1]
    assert capsys.readouterr() == ("", "")


def test_lines_tell_of_checkpoints(capsys, tmp_path):
    first, second = checkpointed(tmp_path, 2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == first
    assert [line[:9] for line in lines[1:-1]] == ["epoch 3/4", "epoch 4/4"]
    assert lines[-1] == second


def test_silence_about_checkpoints(terminal, capsys, tmp_path):
    checkpointed(tmp_path, 0)
    assert (terminal.getvalue(), *capsys.readouterr()) == ("", "", "")


def test_pipes_see_nothing(capfd):
    fit(verbose=1)
    assert capfd.readouterr() == ("", "")


def test_workers_draw_nothing(terminal, monkeypatch):
    def name_of_process():  # a local function, so that the workers import nothing
        import multiprocessing

        return multiprocessing.current_process().name

    names = Parallel(n_jobs=2)(delayed(name_of_process)() for _ in range(2))
    process = SimpleNamespace(name=names[0])
    monkeypatch.setattr("multiprocessing.current_process", lambda: process)
    fit(verbose=1)
    assert terminal.getvalue() == ""


def test_without_a_standard_error(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert fit(verbose=1).n_iter_ == 3


class Display:
    """What IPython's display does: shows a bundle, and updates it by its handle."""

    def __init__(self):
        self.shown, self.updates = [], []

    def __call__(self, bundle, *, raw, display_id):
        assert raw
        assert display_id
        self.shown.append(bundle)
        return self

    def update(self, bundle, *, raw):
        assert raw
        self.updates.append(bundle)


@pytest.mark.parametrize("has_kernel", [True, False])
def test_notebook_shows_one_output(has_kernel, terminal, monkeypatch):
    display = Display()
    shell = SimpleNamespace(kernel=0) if has_kernel else SimpleNamespace()
    module = SimpleNamespace(
        get_ipython=lambda: shell, display=SimpleNamespace(display=display)
    )
    monkeypatch.setitem(sys.modules, "IPython", module)
    fit(verbose=1)
    assert len(display.shown) == has_kernel
    assert (terminal.getvalue() == "") == has_kernel
    if has_kernel:
        last = [*display.shown, *display.updates][-1]
        assert last["text/plain"].startswith("CircleEmbedder: epoch 3/3, loss ")
        assert "<progress value='1.0000' max='1'>" in last["text/html"]


def test_notebook_updates_in_place_and_escapes():
    display = Display()
    screen = NotebookScreen(display)
    screen.draw("<b>", "epoch 1/2", 0.5, ["loss 1"], False)
    screen.draw("<b>", "epoch 2/2", 1, ["loss 1"], True)
    assert (len(display.shown), len(display.updates)) == (1, 1)
    assert "&lt;b&gt;" in display.updates[0]["text/html"]
    assert "<b>" not in display.updates[0]["text/html"]


# Lines


def test_notebook_tells_lines():
    display = Display()
    NotebookScreen(display).tell("<b>")
    assert display.shown == [{"text/plain": "<b>"}]


def test_verbose_2_prints_a_line_an_epoch(capfd):
    class Score(Callback):
        def on_epoch_begin(self, net, **kwargs):
            net.history.record("valid_score", 0.5)

    embedder = fit(verbose=2, callbacks=[Score])
    out, err = capfd.readouterr()
    lines = [line.split() for line in out.splitlines()]
    assert [line[:2] for line in lines] == [["epoch", f"{i}/3"] for i in (1, 2, 3)]
    losses = [f"{loss:.4f}" for loss in embedder.loss_curve_]
    assert [line[3] for line in lines] == losses
    assert [line[5] for line in lines] == ["0.5000"] * 3
    assert err == ""


@pytest.mark.parametrize("verbose", [1, 2])
def test_showing_changes_nothing_and_is_not_kept(verbose, terminal):
    shown, silent = fit(verbose=verbose), fit()
    np.testing.assert_array_equal(shown.transform(X), silent.transform(X))
    assert shown.net_.watchers_ == ()
