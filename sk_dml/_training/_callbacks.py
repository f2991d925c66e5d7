"""Callbacks of a training: what they record, show, save and check.

``net.callbacks_`` is the one list of all that hear of a training. They are called in
this order, so that each finds what those before it have recorded:

1. Record: the loss and the learning rate of the epoch
2. Diagnostics: what the last batch says about the embedding
3. Validation: the score, and whether to stop early
4. MoveRates: the schedule and the duration; now the row of the epoch is complete
5. the user's callbacks, given as ``callbacks``
6. UsersDone, if there are any: from here on, Ctrl-C is not taken for a callback that
   stops the training
7. SklearnCallbacks: those of ``set_callbacks``
8. Progress: a bar, or a line per epoch
9. SaveCheckpoint: the state after all the others

Only this file imports sklearn.callback.
"""

import multiprocessing
import sys
import time
import warnings
from typing import Any

import numpy as np
from sklearn.callback import CallbackSupportMixin as SklearnCallbackSupportMixin
from sklearn.callback import with_callbacks
from skorch.callbacks import (
    BatchScoring,
    Callback,
    EpochScoring,
    EpochTimer,
    LRScheduler,
    PassthroughScoring,
)
from tqdm import TqdmWarning

with warnings.catch_warnings():
    # In notebooks without ipywidgets the bar is text: no reason to warn.
    warnings.simplefilter("ignore", TqdmWarning)
    from tqdm.auto import tqdm

__all__ = ["CallbackSupportMixin", "with_callbacks"]

# Keys of an epoch in an embedder's history_, where they are known.
RECORDED = (
    "epoch",
    "train_loss",
    "valid_score",
    "lr",
    "active_share",
    "mean_similarity",
    "effective_rank",
    "gradient_norm",
    "skipped_steps",
    "duration",
)
SCORINGS = BatchScoring, EpochScoring, PassthroughScoring


class OwnCallback(Callback):
    """A callback that belongs to the package."""

    lasts = False  # whether it stays in the net after the training
    close: Any = None  # a method that releases what it needed, however training ended


class Record(OwnCallback):
    """Record the mean loss of an epoch and its last learning rate."""

    lasts = True

    def on_epoch_end(self, net, **kwargs):
        """Record the epoch; ``train_loss_best`` as skorch does."""
        losses = np.array(net.history[-1, "batches", :, "train_loss"])
        sizes = np.array(net.history[-1, "batches", :, "train_batch_size"])
        loss = float(np.average(losses, weights=sizes))
        earlier = (row.get("train_loss", np.inf) for row in net.history[:-1])
        net.history.record("train_loss", loss)
        net.history.record("train_loss_best", bool(loss < min(earlier, default=np.inf)))
        net.history.record("lr", net.history[-1, "batches", -1, "lr"])


def complete_epochs(history):
    """Return the rows of the epochs that came to their end, without their batches."""
    return [
        {name: value for name, value in row.items() if name != "batches"}
        for row in history
        if "duration" in row  # the last entry of an epoch
    ]


def load_history(net, rows):
    """Replace the history of a net by these rows of ``complete_epochs``."""
    net.history.clear()
    for row in rows:
        net.history.new_epoch()
        net.history[-1].pop("batches")
        net.history[-1].update(row)


class MoveRates(OwnCallback):
    """Move the learning rates along their schedule, and time the epoch."""

    lasts = True

    def on_epoch_begin(self, net, **kwargs):
        """Forget the batches of earlier epochs, and start the clock."""
        for row in net.history[-2:-1]:
            row.pop("batches", None)
        net.may_stop_ = False  # in a net that is trained directly, without UsersDone
        self.start = time.perf_counter()

    def on_batch_end(self, net, **kwargs):
        """Record the learning rate of the step, and move the rates."""
        net.history.record_batch("lr", net.optimizer_.param_groups[0]["lr"])
        net.schedule_.step()

    def on_epoch_end(self, net, **kwargs):
        """Complete the row of the epoch: from now on the user's callbacks may stop."""
        if net.schedule_.plateau is not None:
            net.schedule_.end_epoch(net.history[-1])
        net.history.record("duration", time.perf_counter() - self.start)
        net.may_stop_ = bool(net.callbacks)


class UsersDone(OwnCallback):
    """Follow the user's callbacks."""

    def on_epoch_end(self, net, **kwargs):
        """From now on a KeyboardInterrupt is the user's."""
        net.may_stop_ = False


class SaveCheckpoint(OwnCallback):
    """Save every epoch to ``net.checkpoint_``."""

    def on_epoch_end(self, net, **kwargs):
        """Save, now that all others have been called."""
        net.checkpoint_.save(net)

    def on_train_end(self, net, **kwargs):
        """Save that a callback has stopped the training, for then it was the last."""
        if net.stopped_:
            net.checkpoint_.save(net)


class CallbackSupportMixin(SklearnCallbackSupportMixin):
    """scikit-learn's mixin, whose error says where skorch's callbacks go."""

    def set_callbacks(self, *callbacks):
        """Set the callbacks of scikit-learn.

        Parameters
        ----------
        *callbacks : callback instances
            Instances that follow the protocol ``sklearn.callback.FitCallback``; none
            removes those that were set. A ``ScoringMonitor`` wants a scorer of one
            metric in a dict, ``{"map_at_r": map_at_r}``: bare, that of scikit-learn 1.9
            takes scorers of scikit-learn alone.

        Returns
        -------
        self : object
            The embedder.

        Raises
        ------
        TypeError
            If one is something else. Callbacks of skorch go to the parameter
            ``callbacks``.
        """
        for callback in callbacks:
            kind = callback if isinstance(callback, type) else type(callback)
            if issubclass(kind, Callback):
                raise TypeError(
                    "set_callbacks takes callbacks of scikit-learn, got "
                    f"{kind.__name__} of skorch: give it to the parameter callbacks."
                )
        return super().set_callbacks(*callbacks)


class SklearnCallbacks(OwnCallback):
    """Call an embedder's callbacks of scikit-learn, with the data given to fit."""

    def __init__(self, embedder, X, y):
        self.embedder, self.X, self.y = embedder, X, y

    def on_train_begin(self, net, **kwargs):
        """Set the callbacks up, and begin the fit."""
        self.fit = self.embedder._init_callback_context(max_subtasks=net.max_epochs)
        self.fit.call_on_fit_task_begin(estimator=self.embedder, X=self.X, y=self.y)

    def on_epoch_begin(self, net, **kwargs):
        """Begin an epoch."""
        self.epoch = self.fit.subcontext(task_name="epoch")
        self.epoch.call_on_fit_task_begin(**self._arguments(net))

    def on_epoch_end(self, net, **kwargs):
        """End the epoch, and stop if one of the callbacks returns True."""
        if self.epoch.call_on_fit_task_end(**self._arguments(net)):
            net.stop()

    def on_train_end(self, net, **kwargs):
        """End the fit."""
        self.fit.call_on_fit_task_end(**self._arguments(net))

    def _arguments(self, net):
        return {
            "estimator": self.embedder,
            "X": self.X,
            "y": self.y,
            # Called only if a callback asks for a fitted estimator.
            "reconstruction_attributes": lambda: self.embedder._fitted_attributes(
                net.snapshot()
            ),
        }


class EpochLines(OwnCallback):
    """Print a line per epoch."""

    def on_epoch_end(self, net, **kwargs):
        """Print the epoch, its loss, its score and its duration."""
        row, n_epochs = net.history[-1], str(net.last_epoch_)
        line = f"epoch {row['epoch']:{len(n_epochs)}d}/{n_epochs}  "
        line += f"loss {row['train_loss']:10.4f}"
        if row.get("valid_score") is not None:
            line += f"  score {row['valid_score']:.4f}"
        print(f"{line}  {row['duration']:6.1f} s", flush=True)


class Bar(tqdm):
    """A bar of tqdm that starts no thread to redraw it."""

    monitor_interval = 0


class ProgressBar(OwnCallback):
    """Draw a bar of all batches, with the epoch, the loss and the score."""

    bar: Any = None

    def __init__(self, name):
        self.name = name

    def on_epoch_begin(self, net, **kwargs):
        """Show the number of the epoch."""
        epoch = len(net.history)
        text = f"{self.name}: epoch {epoch}/{net.last_epoch_}"
        if self.bar is None:
            self.bar = Bar(
                desc=text,
                file=sys.stderr,
                total=net.last_epoch_ * net.n_batches_,
                initial=(epoch - 1) * net.n_batches_,
                bar_format="{desc} {bar} {elapsed}<{remaining}{postfix}",
                dynamic_ncols=True,
            )
        self.bar.set_description_str(text, refresh=False)

    def on_batch_end(self, net, **kwargs):
        """Move on; in the first epoch, show the loss of the batch."""
        if not self.bar.postfix:
            self._show(net.history[-1]["batches"][-1])
        self.bar.update()

    def on_epoch_end(self, net, **kwargs):
        """Show the loss and the score of the epoch."""
        self._show(net.history[-1])
        if net.stopped_:
            self.bar.total = self.bar.n  # it is complete, if earlier than planned

    def _show(self, row):
        facts = f"loss {row['train_loss']:.4g}"
        if row.get("valid_score") is not None:
            facts += f", score {row['valid_score']:.3f}"
        self.bar.set_postfix_str(facts, refresh=False)

    def close(self):
        """Draw what was reached, and end the line."""
        if self.bar is not None:
            self.bar.refresh()
            self.bar.close()


def progress(name, verbose):
    """Return what shows a training: a bar where one can be drawn, lines, or None."""
    if verbose >= 2:
        return EpochLines()
    return ProgressBar(name) if can_draw() else None


def tell(verbose, text):
    """Show a line where :func:`progress` shows a training that has yet to begin."""
    if verbose >= 2:
        print(text, flush=True)
    elif verbose and can_draw():
        Bar.write(text, file=sys.stderr)


def can_draw():
    """Return whether this is a terminal or a notebook, and no worker process."""
    if multiprocessing.current_process().name != "MainProcess":
        return False
    if "IPython" in sys.modules:
        from IPython import get_ipython

        if hasattr(get_ipython(), "kernel"):
            return True
    return sys.stderr is not None and sys.stderr.isatty()


def check_are_callbacks(callbacks):
    """Check that the items are callbacks of skorch, or tuples (name, callback)."""
    for given in callbacks:
        is_named = isinstance(given, tuple) and len(given) == 2
        callback = given[1] if is_named else given
        kind = callback if isinstance(callback, type) else type(callback)
        if not issubclass(kind, Callback):
            raise TypeError(
                "callbacks must be a list of skorch callbacks, or of tuples (name, "
                f"callback), got {given!r} in it. Those of scikit-learn go to "
                "set_callbacks."
            )


def users_callbacks(net):
    """Return the user's part of ``net.callbacks_``, tuples (name, callback)."""
    return [(n, c) for n, c in net.callbacks_ if not isinstance(c, OwnCallback)]


def check_callbacks(net, *, validates):
    """Check that the user's callbacks find what they need; ``validates``: a score."""
    callbacks = users_callbacks(net)
    _check_settings(net, [name for name, _ in callbacks])
    may_record_more = any(
        isinstance(callback, (*SCORINGS, EpochTimer)) or not _is_skorchs(callback)
        for _, callback in callbacks
    )
    recorded = {*RECORDED, "train_loss_best", "valid_score_best"}
    if not validates:
        recorded -= {"valid_score", "valid_score_best"}
    for name, callback in callbacks:
        if isinstance(callback, LRScheduler):
            _check_one_schedule(net, name)
        if isinstance(callback, SCORINGS) and _is_skorchs(callback):
            _check_scores_training(callback, name)
        monitor = getattr(callback, "monitor", None)
        if not isinstance(monitor, str) or may_record_more or monitor in recorded:
            continue
        text = (
            f"callbacks holds {name}, which monitors {monitor!r}, and no epoch of this "
            f"fit has that. Allowed are: {sorted(recorded)}."
        )
        if not validates:
            text += " early_stopping=True or validation_data add 'valid_score'."
        raise ValueError(
            f"{text} Of scores the larger is the better: lower_is_better=False."
        )


def _check_one_schedule(net, name):
    warmup = (net.schedule_params or {}).get("warmup")
    if net.lr_schedule is None and not warmup:
        return
    mover = f"lr_schedule={net.lr_schedule!r}"
    if net.lr_schedule is None:
        mover = f"lr_schedule__warmup={warmup!r} in net_params"
    raise ValueError(
        f"callbacks holds {name}, which moves the learning rates, and so does {mover}. "
        "Allowed is one of them: to leave the rates to the callback, set "
        "lr_schedule=None without a warm-up."
    )


def _check_settings(net, names):
    for key, value in vars(net).items():
        if not key.startswith("callbacks__") or value is None:
            continue
        name = key.split("__")[1]
        if name not in names:
            raise ValueError(
                f"net_params holds {key!r}, but no callback has the name {name!r}. "
                f"The names are: {names}."
            )


def _check_scores_training(callback, name):
    if callback.on_train:
        return
    raise ValueError(
        f"callbacks holds {name} with on_train=False, and the net has no samples to "
        "validate. Allowed is on_train=True, which scores the training samples. To "
        "score validation_data, or what early_stopping=True holds out, set scoring, "
        "and monitor 'valid_score'."
    )


def _is_skorchs(callback):
    return type(callback).__module__.startswith("skorch.")
