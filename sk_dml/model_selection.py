"""Class-disjoint splitters: every class is on one side of a split."""

from contextlib import contextmanager

import numpy as np
from sklearn.model_selection import (
    BaseCrossValidator,
    BaseShuffleSplit,
    ShuffleSplit,
    train_test_split,
)
from sklearn.utils import _safe_indexing, check_random_state, indexable

from sk_dml._utils._labels import encode_labels

__all__ = [
    "ClassDisjointKFold",
    "ClassDisjointShuffleSplit",
    "RepeatedClassDisjointKFold",
    "class_disjoint_split",
]


NO_EFFECT = (
    "random_state has no effect since shuffle is False. Leave random_state at None, or "
    "set shuffle=True."
)


def _check_units(y, groups):
    """Return the units that stay whole: classes, or the superclasses in ``groups``.

    These are the unit of every sample (n_samples,), the number of classes in every unit
    (n_units,), and what the units are called.
    """
    if y is None:
        raise ValueError("The 'y' parameter should not be None: it holds the classes.")
    classes, codes = encode_labels(y)
    if groups is None:
        return codes, np.ones(len(classes), dtype=np.int64), "classes"
    _, units = encode_labels(groups, name="groups")
    if len(units) != len(codes):
        raise ValueError(
            f"groups must have the length of y, {len(codes)}, got {len(units)}."
        )
    pairs = np.unique(np.column_stack([codes, units]), axis=0)
    split = np.flatnonzero(np.bincount(pairs[:, 0]) > 1)
    if len(split):
        raise ValueError(
            f"groups must have every class of y in one group, but {len(split)} of the "
            f"{len(classes)} classes are in several, such as "
            f"{classes.tolist()[split[0]]!r}."
        )
    return units, np.bincount(pairs[:, 1]), "groups"


class ClassDisjointKFold(BaseCrossValidator):
    """K-fold cross-validation over classes instead of samples.

    Every class is in the test set of exactly one fold, with all of its samples, and in
    the training set of all others: each fold tests an embedding on classes that it has
    not seen.

    Parameters
    ----------
    n_splits : int, default=4
        Number of folds, at least 2 and at most the number of classes.
    shuffle : bool, default=False
        Whether to shuffle the classes first. If False, the folds are consecutive parts
        of the sorted classes.
    random_state : int, RandomState instance or None, default=None
        Orders the classes if ``shuffle=True``.

    See Also
    --------
    ClassDisjointShuffleSplit : Random splits of the classes.
    RepeatedClassDisjointKFold : Repeats this splitter with other orders.

    Notes
    -----
    ``groups`` in :meth:`split` are superclasses (alphabets, families): classes of one
    group stay on the same side, and folds get similar numbers of classes.

    References
    ----------
    .. [1] K. Musgrave, S. Belongie, S.-N. Lim. "A Metric Learning Reality Check".
           ECCV 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_dml.model_selection import ClassDisjointKFold
    >>> y = np.array(["a", "b", "c", "d", "a", "b"])
    >>> for train, test in ClassDisjointKFold(2).split(y, y):
    ...     print(y[train], y[test])
    ['c' 'd'] ['a' 'b' 'a' 'b']
    ['a' 'b' 'a' 'b'] ['c' 'd']
    """

    __metadata_request__split = {"groups": True}

    def __init__(self, n_splits=4, *, shuffle=False, random_state=None):
        if not isinstance(n_splits, int | np.integer) or n_splits < 2:
            raise ValueError(f"n_splits must be an integer >= 2, got {n_splits!r}.")
        if not isinstance(shuffle, bool):
            raise TypeError(f"shuffle must be True or False, got {shuffle!r}.")
        if not shuffle and random_state is not None:
            raise ValueError(NO_EFFECT)
        self.n_splits = n_splits
        self.shuffle = shuffle
        self.random_state = random_state

    def get_n_splits(self, X=None, y=None, groups=None):
        """Return the number of folds.

        Parameters
        ----------
        X, y, groups : object
            Ignored, exist for compatibility.

        Returns
        -------
        int
        """
        return self.n_splits

    def _iter_test_masks(self, X=None, y=None, groups=None):
        units, sizes, name = _check_units(y, groups)
        if self.n_splits > len(sizes):
            raise ValueError(
                f"Cannot have number of splits n_splits={self.n_splits} greater than "
                f"the number of {name}: {len(sizes)}."
            )
        order = np.arange(len(sizes))
        if self.shuffle:
            order = check_random_state(self.random_state).permutation(order)
        fold_of = np.empty(len(sizes), dtype=np.int64)
        if groups is None:
            for fold, members in enumerate(np.array_split(order, self.n_splits)):
                fold_of[members] = fold
        else:
            # Largest first, each to the fold with the fewest classes so far.
            load = np.zeros(self.n_splits, dtype=np.int64)
            for unit in order[np.argsort(-sizes[order], kind="stable")]:
                fold_of[unit] = load.argmin()
                load[fold_of[unit]] += sizes[unit]
        for fold in range(self.n_splits):
            yield fold_of[units] == fold


class ClassDisjointShuffleSplit(BaseShuffleSplit):
    """Random splits of the classes into training and test classes.

    Parameters
    ----------
    n_splits : int, default=10
        Number of splits.
    test_size : float, int or None, default=None
        Share (in (0, 1)) or number of the classes in the test set, or of the groups if
        there are ``groups``. None is the complement of ``train_size``, or 0.5.
    train_size : float, int or None, default=None
        Share or number of the classes in the training set; None is the complement.
    random_state : int, RandomState instance or None, default=None
        Draws the classes.

    See Also
    --------
    ClassDisjointKFold : Every class is tested exactly once.
    class_disjoint_split : Splits arrays once.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_dml.model_selection import ClassDisjointShuffleSplit
    >>> y = np.repeat(["a", "b", "c", "d"], 3)
    >>> splitter = ClassDisjointShuffleSplit(n_splits=3, random_state=0)
    >>> [sorted(set(y[test].tolist())) for _, test in splitter.split(y, y)]
    [['c', 'd'], ['a', 'c'], ['a', 'd']]
    """

    __metadata_request__split = {"groups": True}

    def __init__(
        self, n_splits=10, *, test_size=None, train_size=None, random_state=None
    ):
        super().__init__(
            n_splits=n_splits,
            test_size=test_size,
            train_size=train_size,
            random_state=random_state,
        )

    def _iter_indices(self, X, y=None, groups=None):
        units, sizes, name = _check_units(y, groups)
        splitter = ShuffleSplit(
            self.n_splits,
            test_size=_default_test_size(self.test_size, self.train_size),
            train_size=self.train_size,
            random_state=self.random_state,
        )
        with _counting(name, len(sizes)):
            for train, test in splitter.split(sizes):
                yield _rows(units, train), _rows(units, test)


class RepeatedClassDisjointKFold(BaseCrossValidator):
    """K-fold cross-validation over classes, repeated with other orders of the classes.

    Parameters
    ----------
    n_splits : int, default=4
        Number of folds, at least 2 and at most the number of classes.
    n_repeats : int, default=10
        Number of repetitions, at least 1.
    random_state : int, RandomState instance or None, default=None
        Orders the classes in every repetition.

    See Also
    --------
    ClassDisjointKFold : Cross-validation without repetition.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_dml.model_selection import RepeatedClassDisjointKFold
    >>> y = np.repeat(["a", "b", "c", "d"], 3)
    >>> splitter = RepeatedClassDisjointKFold(n_splits=2, n_repeats=5, random_state=0)
    >>> splitter.get_n_splits()
    10
    """

    __metadata_request__split = {"groups": True}

    def __init__(self, n_splits=4, *, n_repeats=10, random_state=None):
        if not isinstance(n_repeats, int | np.integer) or n_repeats < 1:
            raise ValueError(f"n_repeats must be an integer >= 1, got {n_repeats!r}.")
        ClassDisjointKFold(n_splits)  # checks n_splits
        self.n_splits = n_splits
        self.n_repeats = n_repeats
        self.random_state = random_state

    def get_n_splits(self, X=None, y=None, groups=None):
        """Return the number of folds, over all repetitions.

        Parameters
        ----------
        X, y, groups : object
            Ignored, exist for compatibility.

        Returns
        -------
        int
        """
        return self.n_splits * self.n_repeats

    def _iter_test_masks(self, X=None, y=None, groups=None):
        rng = check_random_state(self.random_state)
        for _ in range(self.n_repeats):
            fold = ClassDisjointKFold(self.n_splits, shuffle=True, random_state=rng)
            yield from fold._iter_test_masks(X, y, groups)


def class_disjoint_split(
    *arrays,
    y,
    test_size=None,
    train_size=None,
    groups=None,
    shuffle=False,
    random_state=None,
):
    """Split arrays once into training classes and test classes.

    Parameters
    ----------
    *arrays : sequence of array-like of shape (n_samples, ...)
        Arrays to split, as in :func:`sklearn.model_selection.train_test_split`.
    y : array-like of shape (n_samples,)
        The classes.
    test_size : float, int or None, default=None
        Share (in (0, 1)) or number of the classes in the test part, or of the groups if
        there are ``groups``. None is the complement of ``train_size``, or 0.5.
    train_size : float, int or None, default=None
        Share or number of the classes in the training part; None is the complement.
    groups : array-like of shape (n_samples,) or None, default=None
        Superclasses whose classes stay on the same side.
    shuffle : bool, default=False
        False takes the first of the sorted classes for training and the last for
        testing, as the field's benchmarks do.
    random_state : int, RandomState instance or None, default=None
        Draws the classes if ``shuffle=True``.

    Returns
    -------
    list of length 2 * (len(arrays) + 1)
        The training and the test part of every array, then of ``y``.

    Examples
    --------
    >>> import numpy as np
    >>> from sk_dml import class_disjoint_split
    >>> X, y = np.arange(8), np.array(["a", "b", "c", "d"] * 2)
    >>> X_train, X_test, y_train, y_test = class_disjoint_split(X, y=y)
    >>> X_train, y_test
    (array([0, 1, 4, 5]), array(['c', 'd', 'c', 'd'], dtype='<U1'))
    """
    arrays = indexable(*arrays, y)
    units, sizes, name = _check_units(y, groups)
    if random_state is not None and not shuffle:
        raise ValueError(NO_EFFECT)
    with _counting(name, len(sizes)):
        parts = train_test_split(
            np.arange(len(sizes)),
            test_size=_default_test_size(test_size, train_size),
            train_size=train_size,
            shuffle=shuffle,
            random_state=random_state,
        )
    rows = [_rows(units, part) for part in parts]
    return [_safe_indexing(array, part) for array in arrays for part in rows]


def _default_test_size(test_size, train_size):
    return 0.5 if test_size is None and train_size is None else test_size


def _rows(units, chosen):
    return np.flatnonzero(np.isin(units, chosen))


@contextmanager
def _counting(name, number):
    """Name in scikit-learn's errors what it counts as samples."""
    try:
        yield
    except ValueError as error:
        raise ValueError(
            f"Cannot split y, whose number of {name} is {number} (called n_samples "
            f"below): {error}"
        ) from error
