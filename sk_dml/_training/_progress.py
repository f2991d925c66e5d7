"""What training shows: a progress bar, or a line an epoch."""

import html
import math
import multiprocessing
import shutil
import sys
import time
from contextlib import contextmanager

from skorch.callbacks import Callback

SECONDS_BETWEEN_DRAWINGS = 0.1
WIDEST_BAR = 30
NARROWEST_BAR = 10


@contextmanager
def progress(name, verbose, n_epochs):
    """Show the progress of a training, and leave a clean line behind it.

    Parameters
    ----------
    name : str
        What is trained.
    verbose : int
        0 is silent. 1 draws a bar: in a terminal on the standard error, in a notebook
        below the cell; nowhere else, and not in worker processes, whose bars would
        overwrite each other. From 2 on a line an epoch goes to the standard output,
        wherever that leads.
    n_epochs : int
        Number of the last epoch.

    Yields
    ------
    list of skorch.callbacks.Callback
        What must watch the training, none or one.
    """
    if verbose >= 2:
        yield [EpochLines(n_epochs)]
        return
    screen = _screen() if verbose else None
    if screen is None:
        yield []
        return
    bar = ProgressBar(name, n_epochs, screen)
    try:
        yield [bar]
    finally:
        bar.close()


def tell(verbose, text):
    """Show a line where :func:`progress` shows a training that has yet to begin.

    Parameters
    ----------
    verbose : int
        As for :func:`progress`.
    text : str
    """
    screen = _screen() if verbose == 1 else None
    if verbose >= 2:
        print(text, flush=True)
    elif screen is not None:
        screen.tell(text)


class EpochLines(Callback):
    """Print a line an epoch.

    Parameters
    ----------
    n_epochs : int
        Number of the last epoch.
    """

    def __init__(self, n_epochs):
        self.n_epochs = n_epochs

    def on_epoch_end(self, net, **kwargs):
        """Print the epoch, its loss, its score and its duration."""
        row, epoch = net.history[-1], len(net.history)
        line = f"epoch {_count(epoch, self.n_epochs)}  loss {row['train_loss']:10.4f}"
        if row.get("valid_score") is not None:
            line += f"  score {row['valid_score']:.4f}"
        print(f"{line}  {row['duration']:6.1f} s", flush=True)


class ProgressBar(Callback):
    """Draw how far the training is, at most ten times a second.

    Parameters
    ----------
    name : str
        What is trained.
    n_epochs : int
        Number of the last epoch.
    screen : TerminalScreen or NotebookScreen
        Where to draw.
    clock : callable, default=time.monotonic
        Gives the time in seconds.
    """

    def __init__(self, name, n_epochs, screen, clock=time.monotonic):
        self.name, self.n_epochs = name, n_epochs
        self.screen, self.clock = screen, clock
        self.epoch = self.batch = 0
        self.n_batches = 1
        self.loss = self.score = None
        self.started = self.first_end = None
        self.next_drawing = 0.0

    def on_epoch_begin(self, net, dataset_train=None, **kwargs):
        """Start the clock with the first epoch."""
        self.epoch, self.batch = len(net.history), 0
        if self.started is None:
            self.n_batches = len(net.get_iterator(dataset_train, training=True))
            self.started, self.done_before = self.clock(), self.epoch - 1
            # What is over within an instant needs no bar that grows.
            self.next_drawing = self.started + SECONDS_BETWEEN_DRAWINGS

    def on_batch_end(self, net, **kwargs):
        """Move on."""
        self.batch += 1
        if self.clock() >= self.next_drawing:
            if self.epoch == self.done_before + 1:
                self.loss = net.history[-1]["batches"][-1]["train_loss"]
            self._draw()

    def on_epoch_end(self, net, **kwargs):
        """Take the loss and the score of the epoch over."""
        row = net.history[-1]
        self.loss, self.score = row["train_loss"], row.get("valid_score")
        self.batch = self.n_batches
        if self.first_end is None:
            self.first_end = self.clock()
        if self.clock() >= self.next_drawing:
            self._draw()

    def close(self):
        """Draw what was reached, and leave the line."""
        if self.started is not None:
            self._draw(closing=True)

    def _draw(self, closing=False):
        self.next_drawing = self.clock() + SECONDS_BETWEEN_DRAWINGS
        done = max(self.epoch - 1, 0) + min(self.batch / self.n_batches, 1)
        facts = [f"loss {self.loss:.4g}"] if self.loss is not None else []
        if self.score is not None:
            facts.append(f"score {self.score:.3f}")
        facts.append(self._time(done, closing))
        self.screen.draw(
            self.name,
            f"epoch {_count(self.epoch, self.n_epochs)}",
            min(done / self.n_epochs, 1),
            [fact for fact in facts if fact],
            closing,
        )

    def _time(self, done, closing):
        now = self.clock()
        if closing:
            return f"in {duration(now - self.started)}"
        # The first epoch is often slower than the others, so it counts only alone.
        since, before = self.started, self.done_before
        if self.first_end is not None and self.epoch > self.done_before + 1:
            since, before = self.first_end, self.done_before + 1
        if done <= before:
            return ""
        left = (now - since) / (done - before) * (self.n_epochs - done)
        return f"{duration(math.ceil(left))} left"


class TerminalScreen:
    """One line of a terminal, drawn over and over.

    Parameters
    ----------
    stream : file
        The terminal.
    """

    def __init__(self, stream):
        self.stream = stream
        self.width = 0
        self.bar_width = WIDEST_BAR
        self.gone = False
        try:
            "█".encode(getattr(stream, "encoding", None) or "ascii")
            self.full, self.empty = "█", "░"
        except UnicodeEncodeError:
            self.full, self.empty = "#", "."

    def draw(self, name, epoch, share, facts, closing):
        """Draw the line anew; after the last time the cursor is below it."""
        if self.gone:
            return
        # A line as wide as the terminal would wrap, and could not be drawn over.
        room = shutil.get_terminal_size().columns - 1
        # What does not fit is left out as a whole: part of a number is another one.
        head = epoch if len(epoch) <= room else ""
        while facts and len(epoch) + 1 + len(", ".join(facts)) > room:
            facts = facts[:-1]
        told = ", ".join(facts)
        if room - len(f"{name}: {epoch}") - len(told) - 2 >= NARROWEST_BAR:
            head = f"{name}: {epoch}"
        # The bar gives way to longer facts, but does not come and go with them.
        self.bar_width = min(self.bar_width, room - len(head) - len(told) - 2)
        bar = self._bar(share) if self.bar_width >= NARROWEST_BAR else ""
        line = " ".join(filter(None, [head, bar, told]))
        padding = " " * (min(self.width, room) - len(line))
        self.width = len(line)
        self._write(f"\r{line}{padding}" + ("\n" if closing else ""))

    def tell(self, text):
        """Write a line of its own."""
        self._write(f"{text}\n")

    def _write(self, text):
        try:
            self.stream.write(text)
            self.stream.flush()
        except (OSError, ValueError):
            self.gone = True  # and the training goes on

    def _bar(self, share):
        full = int(share * self.bar_width)  # all of it at the end only
        return self.full * full + self.empty * (self.bar_width - full)


class NotebookScreen:
    """An output of a notebook's cell, updated in place.

    Parameters
    ----------
    display : callable
        IPython's.
    """

    def __init__(self, display):
        self.display = display
        self.handle = None

    def draw(self, name, epoch, share, facts, closing):
        """Show the bar, or update the one that is there."""
        bar = f"<progress value='{share:.4f}' max='1'></progress>"
        head, told = f"{name}: {epoch}", ", ".join(facts)
        bundle = {
            "text/plain": ", ".join([head, *facts]),
            "text/html": f"<div>{html.escape(head)} {bar} {html.escape(told)}</div>",
        }
        if self.handle is None:
            self.handle = self.display(bundle, raw=True, display_id=True)
        else:
            self.handle.update(bundle, raw=True)

    def tell(self, text):
        """Show a line of its own."""
        self.display({"text/plain": text}, raw=True, display_id=True)


def duration(seconds):
    """Write a duration down.

    Parameters
    ----------
    seconds : int or float
        Fractions are shown where they matter.

    Returns
    -------
    str

    Examples
    --------
    >>> from sk_dml._training._progress import duration
    >>> duration(3), duration(3.21), duration(32.1), duration(83), duration(3725)
    ('3 s', '3.2 s', '32 s', '1:23 min', '1:02:05 h')
    """
    if isinstance(seconds, float) and seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d} h"


def _count(epoch, n_epochs):
    return f"{epoch:{len(str(n_epochs))}d}/{n_epochs}"


def _screen():
    """Find where a bar can be drawn, if anywhere."""
    if multiprocessing.current_process().name != "MainProcess":
        return None
    if "IPython" in sys.modules:  # as it is in a notebook
        from IPython import display, get_ipython

        if hasattr(get_ipython(), "kernel"):
            return NotebookScreen(display.display)
    if sys.stderr is not None and sys.stderr.isatty():
        return TerminalScreen(sys.stderr)
    return None
