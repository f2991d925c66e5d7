"""Validation of embeddings and parameters of metrics."""

from collections.abc import Iterable

import numpy as np
from sklearn.utils import check_random_state

from sk_dml._utils._labels import encode_labels
from sk_dml.neighbors._validation import check_choice, check_positive, check_rows

AVERAGES = ("micro", "macro")


def check_embeddings(X, labels):
    """Return float rows (n, n_features), their classes and codes (n,)."""
    X = check_rows(X, "X")
    classes, codes = encode_labels(labels, name="labels")
    check_length(codes, "labels", X, "X")
    return X, classes, codes


def check_length(labels, name, rows, rows_name):
    """Refuse labels that are more or fewer than what they label."""
    if len(labels) != len(rows):
        raise ValueError(
            f"{name} has {len(labels)} entries and {rows_name} has {len(rows)} rows; "
            "every row needs one."
        )


def check_names(names, known, pattern=None):
    """Return names of metrics as a tuple: known ones, or such as match a pattern."""
    single = isinstance(names, str) or not isinstance(names, Iterable)
    names = (names,) if single else tuple(names)
    unknown = [
        name
        for name in names
        if name not in known and not (pattern and pattern.fullmatch(str(name)))
    ]
    if unknown or not names:
        families = ["precision_at_<k>", "recall_at_<k>"] if pattern else []
        raise ValueError(
            f"metrics must name one or more of {[*known, *families]}, "
            f"got {list(names)}."
        )
    repeated = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if repeated:
        raise ValueError(f"metrics must name each metric once, got {repeated} twice.")
    return tuple(map(str, names))


def check_fraction(value, name):
    """Refuse what is not a number between 0 and 1."""
    message = f"{name} must be a number in (0, 1), got {value!r}."
    if not isinstance(value, float | np.floating | int):
        raise TypeError(message)
    if not 0 < value < 1:
        raise ValueError(message)


def check_interval(average, confidence_level, n_resamples, random_state):
    """Check the parameters of an interval."""
    check_choice(average, AVERAGES, "average")
    if confidence_level is not None:
        check_fraction(confidence_level, "confidence_level")
    check_positive(n_resamples, "n_resamples")
    check_random_state(random_state)
