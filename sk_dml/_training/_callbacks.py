"""scikit-learn's callbacks during training. Only this file imports sklearn.callback."""

import functools
import traceback

from sklearn.callback import CallbackSupportMixin as SklearnCallbackSupportMixin
from sklearn.callback import with_callbacks as sklearn_with_callbacks
from skorch.callbacks import Callback

from sk_dml._training._net import NOTE, StopTraining

__all__ = ["CallbackSupportMixin", "callback_tasks", "with_callbacks"]


class CallbackSupportMixin(SklearnCallbackSupportMixin):
    """scikit-learn's mixin, whose error tells where skorch's callbacks go."""

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
                    f"{kind.__name__} of skorch: give that to the parameter callbacks, "
                    "a list."
                )
        return super().set_callbacks(*callbacks)


class EpochTasks(Callback):
    """Tell an embedder's callbacks when fit and its epochs begin and end.

    Parameters
    ----------
    embedder : BaseEmbedder
        What holds the callbacks.
    X, y : array-like
        The training data, as the user gave them: callbacks transform and score them.
    attributes : callable
        Called with a net; returns the fitted attributes of the embedder as a dict.
    """

    def __init__(self, embedder, X, y, attributes):
        self.embedder = embedder
        self.data = {"X": X, "y": y}
        self.attributes = attributes

    def on_train_begin(self, net, **kwargs):
        """Set the callbacks up; the fit begins."""
        self.fit = self.embedder._init_callback_context(max_subtasks=net.max_epochs)
        self.fit.call_on_fit_task_begin(estimator=self.embedder, **self.data)

    def on_epoch_begin(self, net, **kwargs):
        """Tell them that an epoch begins."""
        self.epoch = self.fit.subcontext(task_name="epoch")
        self.epoch.call_on_fit_task_begin(**self._arguments(net))

    def on_epoch_end(self, net, **kwargs):
        """Tell them that it ends, and stop if one of them asks for it."""
        if self.epoch.call_on_fit_task_end(**self._arguments(net)):
            raise StopTraining

    def on_train_end(self, net, **kwargs):
        """Tell them that the fit ends."""
        self.fit.call_on_fit_task_end(**self._arguments(net))

    def _arguments(self, net):
        return {
            "estimator": self.embedder,
            **self.data,
            # Called where a callback asks for a fitted estimator, not otherwise.
            "reconstruction_attributes": lambda: self.attributes(net.snapshot()),
        }


def callback_tasks(embedder, X, y, attributes):
    """List what must watch the training for the embedder's callbacks.

    Parameters
    ----------
    embedder, X, y, attributes
        As for EpochTasks.

    Returns
    -------
    list of EpochTasks
        Empty if the embedder has no callbacks.
    """
    if not _callbacks_of(embedder):
        return []
    return [EpochTasks(embedder, X, y, attributes)]


def with_callbacks(fit):
    """Decorate fit: callbacks are torn down whatever happens, and named in errors.

    Parameters
    ----------
    fit : callable

    Returns
    -------
    callable
    """
    managed = sklearn_with_callbacks(fit)

    @functools.wraps(fit)
    def wrapper(embedder, *args, **kwargs):
        # Those of a meta-estimator are gone from the embedder after its fit.
        callbacks = _callbacks_of(embedder)
        try:
            return managed(embedder, *args, **kwargs)
        except Exception as error:
            _name_callbacks(error, callbacks)
            raise

    return wrapper


def _callbacks_of(embedder):
    return list(getattr(embedder, "_skl_callbacks", []))


def _name_callbacks(error, callbacks):
    """Note on an error, and on those within and behind it, which callback raised it.

    Those of skorch are named by the net, unless they fail before it is ready.
    """
    for inner in [*getattr(error, "exceptions", ()), error.__context__]:
        if inner is not None:
            _name_callbacks(inner, callbacks)
    if any(note.startswith(NOTE) for note in getattr(error, "__notes__", ())):
        return
    for frame, _ in traceback.walk_tb(error.__traceback__):
        code = frame.f_code
        receiver = frame.f_locals.get(code.co_varnames[0]) if code.co_argcount else None
        is_skorchs = isinstance(receiver, Callback) and type(receiver) is not EpochTasks
        if is_skorchs or any(receiver is callback for callback in callbacks):
            error.add_note(f"{NOTE}{type(receiver).__name__} in {code.co_name}.")
            return
