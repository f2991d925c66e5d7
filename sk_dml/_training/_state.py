"""State of a training at the end of an epoch, and its history."""

from typing import Any

import numpy as np
import torch

from sk_dml._utils._random import get_torch_state, set_torch_state

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


class RandomNumbers:
    """Random generators: ``sampling`` draws batches, ``loader`` seeds their workers.

    Torch's own are global, so they are saved and restored in place: use the two methods
    inside of ``torch_seed`` only.
    """

    def __init__(self, seed, device):
        self.sampling = np.random.default_rng(seed)
        self.loader = torch.Generator()
        self.device = torch.device(device)

    def state_dict(self):
        """Return the states of all generators."""
        on_cpu, on_device = get_torch_state(self.device)
        return {
            "sampling": self.sampling.bit_generator.state,
            "loader": self.loader.get_state(),
            "cpu": on_cpu,
            "device": on_device,
        }

    def load_state_dict(self, state):
        """Put all generators into a state."""
        self.sampling.bit_generator.state = state["sampling"]
        self.loader.set_state(state["loader"])
        set_torch_state((state["cpu"], state["device"]), self.device)


def complete_epochs(history):
    """Return the rows of the epochs that came to their end, without their batches."""
    return [
        {name: value for name, value in row.items() if name != "batches"}
        for row in history
        if "duration" in row  # the last entry of an epoch
    ]


def training_state(net):
    """Return all that decides how a training goes on, with the net's own tensors."""
    return {
        "history": complete_epochs(net.history),
        "stopped": net.stopped_,
        **{name: part.state_dict() for name, part in _parts(net).items()},
    }


def load_training_state(net, state):
    """Bring a net, initialized alike, to where another was."""
    for name, part in _parts(net).items():
        part.load_state_dict(state[name])
    net.stopped_ = state["stopped"]
    load_history(net, state["history"])


def _parts(net):
    """Return all that has a state, by name."""
    parts: dict[str, Any] = {
        "module": net.module_,
        "criterion": net.criterion_,
        "optimizer": net.optimizer_,
        "random": net.random_,
        "schedule": net.schedule_,
    }
    if net.scaler_ is not None:
        parts["scaler"] = net.scaler_
    return parts | {f"callback {name}": c for name, c in net.callbacks_ if has_state(c)}


def has_state(part):
    """Return whether an object can be saved and loaded."""
    return hasattr(part, "state_dict") and hasattr(part, "load_state_dict")


def load_history(net, rows):
    """Replace the history of a net by these rows of ``complete_epochs``."""
    net.history.clear()
    for row in rows:
        net.history.new_epoch()
        net.history[-1].pop("batches")
        net.history[-1].update(row)
