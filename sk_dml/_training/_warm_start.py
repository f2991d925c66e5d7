"""Going on from a network that is trained already: warm starts and partial fits."""

import copy

import numpy as np

from sk_dml._training._checkpoint import differences
from sk_dml._training._optimizer import trained_parameters
from sk_dml._training._state import complete_epochs, load_history


def carry_over(embedder, previous, net, places, *, optimizer):
    """Let a net begin with what another has learned.

    Parameters
    ----------
    embedder : BaseEmbedder
        Knows the classes of the new net.
    previous : EmbeddingNet
        A trained one; it is left as it is.
    net : EmbeddingNet
        Initialised, not trained.
    places : ndarray of shape (n_known,), int64
        The number that each class of the previous net has in the new one.
    optimizer : bool
        Whether the moments of the optimizer are carried over too, to an optimizer of
        the same class.

    Raises
    ------
    ValueError
        If the networks or the losses hold different things, as those with proxies do
        for different classes.
    """
    new_classes = np.delete(embedder.classes_, places).tolist()
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
                "parameters. Set what has changed (module, n_components, net_params, "
                "or a parameter of the method) as it was, or fit anew with "
                f"warm_start=False. The first of {len(changes)} differences: "
                f"{changes[0]}."
            ) from error
    if hasattr(net.criterion_, "relabel"):
        net.criterion_.relabel(places)
    if optimizer and type(previous.optimizer_) is type(net.optimizer_):
        _carry_moments(previous, net)
    numbers = dict(previous.random_state_)
    if previous.random_.device.type != net.random_.device.type:
        numbers["device"] = None
    net.random_.load_state_dict(numbers)
    load_history(net, complete_epochs(previous.history))


def _new_classes_error(new_classes, held_out, loss):
    held = [label for label in new_classes if label in held_out]
    others = [label for label in new_classes if label not in held_out]
    text = [f"{loss} learns something for each class."]
    if held:
        text.append(
            f"y holds {len(held)} classes (for example {held[0]!r}) that early "
            "stopping held out of the fit before: leave their samples out, as classes_ "
            "lacks them, or fit anew with validation_data or early_stopping=False, "
            "which learn from all classes of y."
        )
    if others:
        text.append(
            f"New classes cannot join, here {len(others)} (for example {others[0]!r}): "
            "name all classes in the first call, partial_fit(X, y, classes=...), fit "
            "anew with warm_start=False, or choose a method without proxies."
        )
    return ValueError(" ".join(text))


def _carry_moments(previous, net):
    """Copy what the optimizer keeps of every parameter, matched by name and shape."""
    # Not by place: another decay or rate groups the parameters anew.
    before, now = _named_parameters(previous), _named_parameters(net)
    trained = trained_parameters(net.optimizer_)
    for name, parameter in now.items():
        old = before.get(name)
        if parameter in trained and old is not None and old.shape == parameter.shape:
            kept = previous.optimizer_.state.get(old)
            if kept:
                net.optimizer_.state[parameter] = copy.deepcopy(kept)


def _named_parameters(net):
    parts = {"module": net.module_, "criterion": net.criterion_}
    return {
        f"{part}.{name}": parameter
        for part, module in parts.items()
        for name, parameter in module.named_parameters()
    }


def _shapes(module):
    state = module.state_dict()
    return {name: tuple(getattr(value, "shape", ())) for name, value in state.items()}
