"""Warm starts and partial fits: training that continues from a trained network."""

import copy

import numpy as np

from sk_dml._training._callbacks import complete_epochs, load_history
from sk_dml._training._checkpoint import differences
from sk_dml._training._optimizer import trained_parameters


def carry_over(embedder, previous, net, indices, *, optimizer):
    """Load what a previous net has learned into an initialized one.

    ``indices``, of shape (n_known,), are those of the known classes in the new net.
    With ``optimizer``, load the moments too, into an optimizer of the same class.
    """
    new_classes = np.delete(embedder.classes_, indices).tolist()
    if new_classes and _shapes(previous.criterion_) != _shapes(net.criterion_):
        held_out = getattr(embedder, "_held_out_classes", ())
        raise _new_classes_error(new_classes, held_out, type(net.criterion_).__name__)
    for name, own in ("module", "network"), ("criterion", "loss"):
        state = getattr(previous, f"{name}_").state_dict()
        try:
            getattr(net, f"{name}_").load_state_dict(state)
        except RuntimeError as error:
            pair = (_shapes(getattr(n, f"{name}_")) for n in (previous, net))
            changes = differences(*pair) or [str(error)]
            raise ValueError(
                f"Training cannot go on from the fit before, whose {own} had other "
                "parameters. Set module, n_components, net_params and those of the "
                "method as they were, or fit with warm_start=False. The first of "
                f"{len(changes)} differences: {changes[0]}."
            ) from error
    if hasattr(net.criterion_, "relabel"):
        net.criterion_.relabel(indices)
    if optimizer and type(previous.optimizer_) is type(net.optimizer_):
        _load_moments(previous, net)
    numbers = dict(previous.random_state_)
    if previous.random_.device.type != net.random_.device.type:
        numbers["device"] = None  # generators of another kind: keep the seeded one
    net.random_.load_state_dict(numbers)
    load_history(net, complete_epochs(previous.history))


def _new_classes_error(new_classes, held_out, loss):
    """Return the error on classes for which a loss has learned nothing."""
    held = [label for label in new_classes if label in held_out]
    others = [label for label in new_classes if label not in held_out]
    text = [f"{loss} learns something for each class."]
    if held:
        text.append(
            f"y holds {len(held)} classes (for example {held[0]!r}) that early "
            "stopping held out of the fit before: leave their samples out, or fit anew "
            "with validation_data or early_stopping=False."
        )
    if others:
        text.append(
            f"New classes cannot join, here {len(others)} (for example {others[0]!r}): "
            "name all classes in the first call, partial_fit(X, y, classes=...), fit "
            "anew with warm_start=False, or choose a method without proxies."
        )
    return ValueError(" ".join(text))


def _load_moments(previous, net):
    """Copy the state of every trained parameter, matched by name and shape."""
    # Not by index: another decay or rate groups the parameters anew.
    before, now = _named_parameters(previous), _named_parameters(net)
    trained = trained_parameters(net.optimizer_)
    for name, parameter in now.items():
        old = before.get(name)
        if parameter in trained and old is not None and old.shape == parameter.shape:
            state = previous.optimizer_.state.get(old)
            if state:
                net.optimizer_.state[parameter] = copy.deepcopy(state)


def _named_parameters(net):
    return {
        f"{part}.{name}": parameter
        for part in ("module", "criterion")
        for name, parameter in getattr(net, f"{part}_").named_parameters()
    }


def _shapes(module):
    state = module.state_dict()
    return {name: tuple(getattr(value, "shape", ())) for name, value in state.items()}
