"""numpy's global generator, which nothing may draw from."""

import numpy as np


def global_state():
    """Return all of its state, comparable: the place moves with every draw."""
    name, keys, *rest = np.random.get_state()  # noqa: NPY002 - to see that it stays
    return name, keys.tobytes(), *rest
