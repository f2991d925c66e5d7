"""Samples that cannot be read: left out of fit, rows of NaN in transform."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from sklearn.utils import gen_batches

from sk_dml._inputs._loading import n_threads
from sk_dml._utils._warn import warn

N_SHOWN = 10  # images that a warning names
N_CHECKED = 64  # images that a thread reads at once, in search of unreadable ones


def drop_bad_images(embedder, source, y, classes=None):
    """Return the source and y without samples that cannot be read.

    Every sample is read once for that; ``bad_images_`` lists them. Labels in y may be
    indices in ``classes``.
    """
    blocks = [np.arange(b.start, b.stop) for b in gen_batches(len(source), N_CHECKED)]
    if source.in_threads:
        with ThreadPoolExecutor(n_threads()) as pool:
            readable = [*pool.map(lambda block: source.take(block)[1], blocks)]
    else:
        readable = [source.take(block)[1] for block in blocks]
    kept = np.concatenate(readable)
    bad = source.describe_unreadable(np.flatnonzero(~kept))
    known = vars(embedder).get("bad_images_", [])
    embedder.bad_images_ = [*dict.fromkeys([*known, *bad])]
    if bad:
        counted = f"{len(bad)} of {len(source)} images cannot be read"
        if not kept.any():
            raise ValueError(f"{counted}: {_listed(bad)}.")
        warn(f"{counted} and are left out: {_listed(bad)}. See bad_images_.")
        _warn_of_lost_classes(y, kept, classes)
    source = source.subset(kept)
    source.on_bad_image = "raise"  # if one breaks from now on
    return source, y[kept]


def _warn_of_lost_classes(y, kept, classes):
    every, left = dict.fromkeys(y.tolist()), set(y[kept].tolist())
    lost = [label for label in every if label not in left]
    if lost:
        names = lost if classes is None else classes[lost].tolist()
        shown = ", ".join(map(repr, names[:N_SHOWN]))
        warn(
            f"{len(lost)} of {len(every)} classes are left out, as none of their "
            f"images can be read: {shown}{', ...' if len(lost) > N_SHOWN else ''}."
        )


def warn_of_missing_rows(source, indices):
    """Raise a warning that names samples without an embedding."""
    bad: dict = {}
    for index in indices:
        bad |= dict.fromkeys(source.describe_unreadable([index]))
        if len(bad) > N_SHOWN:
            break
    warn(
        f"{len(indices)} of {len(source)} images cannot be read; their rows are NaN: "
        f"{_listed(bad)}."
    )


def _listed(bad):
    """Return a text of images and why they are bad, each once."""
    bad = [*dict.fromkeys(bad)]
    shown = [f"{name!r} ({reason})" for name, reason in bad[:N_SHOWN]]
    return ", ".join(shown) + (", ..." if len(bad) > N_SHOWN else "")
