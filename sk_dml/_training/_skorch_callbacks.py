"""What skorch's callbacks need, known before the first epoch, and how they stop one."""

import dis

from skorch.callbacks import (
    BatchScoring,
    Callback,
    EpochScoring,
    EpochTimer,
    LRScheduler,
    PassthroughScoring,
)

from sk_dml._training._state import RECORDED

SCORINGS = BatchScoring, EpochScoring, PassthroughScoring


def check_are_callbacks(callbacks):
    """Check that callbacks are those of skorch.

    Parameters
    ----------
    callbacks : list or None
        Callbacks, their classes, or tuples (name, one of these).

    Raises
    ------
    TypeError
        If one is something else.
    """
    for given in callbacks or ():
        named = isinstance(given, tuple) and len(given) == 2
        found = given[1] if named else given
        kind = found if isinstance(found, type) else type(found)
        if not issubclass(kind, Callback):
            raise TypeError(
                "callbacks must be a list of skorch callbacks, or of tuples (name, "
                f"callback), got {given!r} in it. Those of scikit-learn go to "
                "set_callbacks."
            )


def check_callbacks(net, *, validates):
    """Check that callbacks find what they need, and keep out of the way.

    Parameters
    ----------
    net : EmbeddingNet
        Initialised.
    validates : bool
        Whether its epochs have a ``valid_score``.

    Raises
    ------
    ValueError
        If the learning rates are moved from two sides, a callback of skorch scores
        samples that there are none of or monitors what nobody records, or a setting is
        for a callback that is not there.
    """
    _check_settings(net)
    callbacks = [callback for _, callback in net.callbacks_]
    may_record_more = any(
        isinstance(callback, (*SCORINGS, EpochTimer)) or not _is_skorchs(callback)
        for callback in callbacks
    )
    recorded = {name for name in RECORDED if validates or name != "valid_score"}
    for name, callback in net.callbacks_:
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


def is_raised_by_statement(interrupt):
    """Tell a ``raise KeyboardInterrupt`` from Ctrl-C, which may come at any moment.

    Parameters
    ----------
    interrupt : KeyboardInterrupt
        One that was caught.

    Returns
    -------
    bool
    """
    innermost = interrupt.__traceback__
    while innermost.tb_next is not None:
        innermost = innermost.tb_next
    # A signal is handled between the instructions of a function, and raising is one.
    return any(
        instruction.opname == "RAISE_VARARGS"
        for instruction in dis.get_instructions(innermost.tb_frame.f_code)
        if instruction.offset == innermost.tb_lasti
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
        "Allowed is one of them: set lr_schedule=None, without a warm-up, to leave the "
        "rates to the callback."
    )


def _check_settings(net):
    names = [name for name, _ in net.callbacks_]
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
        f"callbacks holds {name} with on_train=False, which finds no samples to score: "
        "the net has none to validate. To score those of validation_data, or those "
        "that early_stopping=True holds out, set scoring, and monitor 'valid_score'. "
        "Allowed is on_train=True, which scores the net on its training samples."
    )


def _is_skorchs(callback):
    return type(callback).__module__.startswith("skorch.")
