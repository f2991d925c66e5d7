"""What a training holds at the end of an epoch, and how another goes on from it."""

from typing import Any

import numpy as np
import torch

from sk_dml._utils._random import get_torch_state, set_torch_state

# What the history of an embedder tells of an epoch, where it is known.
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


class RandomNumbers:
    """The generators that a training draws from.

    Torch's own are global, so they are saved and restored in place: use the two methods
    inside of :func:`sk_dml.utils.torch_seed` only.

    Parameters
    ----------
    seed : int
        Seed of the batches.
    device : str or torch.device
        Where the network computes.

    Attributes
    ----------
    sampling : numpy.random.Generator
        Draws the batches.
    loader : torch.Generator
        Seeds the workers of a DataLoader.
    """

    def __init__(self, seed, device):
        self.sampling = np.random.default_rng(seed)
        self.loader = torch.Generator()
        self.device = torch.device(device)

    def state_dict(self):
        """Return the states of all generators.

        Returns
        -------
        dict
        """
        on_cpu, on_device = get_torch_state(self.device)
        return {
            "sampling": self.sampling.bit_generator.state,
            "loader": self.loader.get_state(),
            "cpu": on_cpu,
            "device": on_device,
        }

    def load_state_dict(self, state):
        """Put all generators into a state.

        Parameters
        ----------
        state : dict
            As :meth:`state_dict` returns it.
        """
        self.sampling.bit_generator.state = state["sampling"]
        self.loader.set_state(state["loader"])
        set_torch_state((state["cpu"], state["device"]), self.device)


def complete_epochs(history):
    """List the rows of the epochs that came to their end, without their batches.

    Parameters
    ----------
    history : list of dict
        Of the net.

    Returns
    -------
    list of dict
    """
    return [
        {name: value for name, value in row.items() if name != "batches"}
        for row in history
        if "duration" in row  # the last entry of an epoch
    ]


def training_state(net):
    """Collect all that decides how a training goes on.

    Parameters
    ----------
    net : EmbeddingNet
        Between two epochs.

    Returns
    -------
    dict
        Of dicts, lists, numbers, strings and tensors. The tensors are the net's own.
    """
    return {
        "history": complete_epochs(net.history),
        "stopped": net.stopped_,
        **{name: part.state_dict() for name, part in _parts(net).items()},
    }


def load_training_state(net, state):
    """Bring a net, initialised alike, to where another was.

    Parameters
    ----------
    net : EmbeddingNet
    state : dict
        As :func:`training_state` returns it.
    """
    for name, part in _parts(net).items():
        part.load_state_dict(state[name])
    net.stopped_ = state["stopped"]
    load_history(net, state["history"])


def _parts(net):
    """All that has a state, by name."""
    parts: dict[str, Any] = {
        "module": net.module_,
        "criterion": net.criterion_,
        "optimizer": net.optimizer_,
        "random": net.random_,
        "schedule": net.schedule_,
        **net.checkpointed_,
    }
    parts |= {f"callback {name}": c for name, c in net.callbacks_ if has_state(c)}
    return parts


def has_state(part):
    """Tell whether something can be saved and loaded.

    Parameters
    ----------
    part : object

    Returns
    -------
    bool
    """
    return hasattr(part, "state_dict") and hasattr(part, "load_state_dict")


def load_history(net, rows):
    """Let the history of a net be these epochs.

    Parameters
    ----------
    net : EmbeddingNet
    rows : list of dict
        As :func:`complete_epochs` returns them.
    """
    net.history.clear()
    for row in rows:
        net.history.new_epoch()
        net.history[-1].pop("batches")
        net.history[-1].update(row)
