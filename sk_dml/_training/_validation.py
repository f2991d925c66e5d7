"""Validation: samples held out, their score after every epoch, and early stopping."""

import copy

import numpy as np
import torch
from sklearn.model_selection import StratifiedShuffleSplit

from sk_dml._inputs import make_source
from sk_dml._supervision._classes import check_targets
from sk_dml._training._sampling import check_batch_size
from sk_dml._training._schedule import SPREAD_SCHEDULES
from sk_dml._utils._labels import encode_label_sets
from sk_dml.metrics._evaluate import check_options
from sk_dml.scorers import retrieval_scorer

# Epochs without progress to wait for; where low rates at the end of the training bring
# progress again, a share of all epochs.
PATIENCE, PATIENCE_SHARE = 10, 0.25
# Fewer classes than these are too easily told apart to show progress.
FEWEST_CLASSES = 5


def check_scoring(scoring):
    """Check what rates the embedding.

    Parameters
    ----------
    scoring : str or callable
        Name of a retrieval metric, or ``scorer(estimator, X, y)``.

    Returns
    -------
    callable

    Raises
    ------
    ValueError
        If there is no such metric, or it is a metric's function instead of a scorer.
    """
    if callable(scoring):
        _refuse_metrics(scoring)
        return scoring
    try:
        check_options(scoring, extra=())
    except ValueError as error:
        raise ValueError(
            f"scoring={scoring!r} is no retrieval metric: {error} A callable "
            "scorer(estimator, X, y) is allowed too."
        ) from error
    return retrieval_scorer(scoring)


def _refuse_metrics(scoring):
    """Recognise the functions of metrics by their modules, as scikit-learn does."""
    package, _, module = str(getattr(scoring, "__module__", "")).rpartition(".")
    packages = "sk_dml.metrics", "sklearn.metrics", "sklearn.metrics.cluster"
    if package not in packages or module == "_scorer":
        return
    metric = getattr(scoring, "__name__", repr(scoring))
    way_out = f"lambda estimator, X, y: {metric}(estimator.transform(X), y)"
    name = metric.removesuffix("_score").replace("at_k", "at_5")
    if package == "sk_dml.metrics":
        try:
            check_options(name, extra=())
            way_out = f"the scorer scoring={name!r}"
        except ValueError:  # no scorer has its name
            pass
    raise ValueError(
        f"scoring={metric} is a metric, called with embeddings and labels, and no "
        f"scorer, which is called with an estimator, X and y. Give {way_out}."
    )


def resolve_patience(embedder):
    """Tell after how many epochs without progress to stop.

    Parameters
    ----------
    embedder : BaseEmbedder

    Returns
    -------
    int
        Its ``n_iter_no_change``, or what "auto" stands for.
    """
    if embedder.n_iter_no_change != "auto":
        return embedder.n_iter_no_change
    if embedder.lr_schedule not in SPREAD_SCHEDULES:
        return PATIENCE
    return max(PATIENCE, round(PATIENCE_SHARE * embedder.max_epochs))


def split_validation(embedder, X, classes, targets, seed):
    """Hold samples out to validate on.

    Parameters
    ----------
    embedder : BaseEmbedder
    X : ndarray of shape (n, ...)
    classes : ndarray of shape (n_classes,)
        The labels.
    targets : ndarray of shape (n,), int64
        Places in ``classes``.
    seed : int
        Decides what is held out, if nothing was before: a warm start holds out what the
        fit before did.

    Returns
    -------
    X, classes, targets
        Those to learn from.
    validation_data : tuple of ndarrays (X, y)
    """
    check_batch_size(embedder, classes, targets)  # before y is another
    embedder._held_out_seed = seed = getattr(embedder, "_held_out_seed", seed)
    random_state = np.random.RandomState(seed)
    held = hold_out(targets, embedder.validation_fraction, random_state)
    validation_data = X.subset(held), classes[targets[held]]
    kept, targets = np.unique(targets[~held], return_inverse=True)
    embedder._held_out_classes = set(np.delete(classes, kept).tolist())
    return X.subset(~held), classes[kept], targets, validation_data


def hold_out(targets, fraction, random_state):
    """Choose the samples to validate on.

    Where the fraction of the classes with two or more samples comes to five or more,
    these many classes are held out whole. Otherwise the fraction of every class is; a
    class that this leaves with fewer than two samples on either side stays in training.

    Parameters
    ----------
    targets : ndarray of shape (n_samples,), int
        The classes, 0 .. n_classes - 1, none of them empty.
    fraction : float
        In (0, 1).
    random_state : RandomState

    Returns
    -------
    ndarray of shape (n_samples,), bool
        Whether a sample is held out.

    Raises
    ------
    ValueError
        If too little is left to learn from, or to score.
    """
    sizes = np.bincount(targets)
    several = np.flatnonzero(sizes >= 2)
    n_held = round(fraction * len(several))
    given = f"validation_fraction={fraction} of the {len(sizes)} classes in y"
    if n_held < FEWEST_CLASSES:
        mask = _hold_out_samples(targets, sizes, fraction, random_state)
        if len(np.unique(targets[mask])) < 2:
            raise ValueError(
                f"{given} ({len(targets)} samples) leaves no two classes with a pair "
                "of samples to score, or none with a pair to learn from. Choose "
                "another fraction, or give validation_data to fit."
            )
        return mask
    if len(sizes) - n_held < 2:
        raise ValueError(
            f"{given} holds out {n_held} and leaves {len(sizes) - n_held} to learn "
            "from, which takes 2 or more. Choose a smaller fraction."
        )
    return np.isin(targets, random_state.permutation(several)[:n_held])


def _hold_out_samples(targets, sizes, fraction, random_state):
    mask = np.zeros(len(targets), dtype=bool)
    rows = np.flatnonzero(sizes[targets] >= 2)
    splitter = StratifiedShuffleSplit(1, test_size=fraction, random_state=random_state)
    try:
        _, chosen = next(splitter.split(rows, targets[rows]))
    except ValueError:  # fewer samples than classes on one side
        return mask
    mask[rows[chosen]] = True
    held = np.bincount(targets[mask], minlength=len(sizes))
    return mask & ((held >= 2) & (sizes - held >= 2))[targets]


def check_validation_data(embedder, validation_data, classes):
    """Check samples that were given to validate on.

    Parameters
    ----------
    embedder : BaseEmbedder
        One that knows the kind and shape of the training data.
    validation_data : tuple (X, y)
    classes : ndarray of shape (n_classes,)
        The labels of the training data; those to validate on may be others, of the same
        kind.

    Returns
    -------
    X : ndarray of shape (n, ...)
    labels : ndarray of shape (n,)

    Raises
    ------
    TypeError
        If it is no pair, or the labels are of several kinds.
    ValueError
        If the samples differ in kind from the training data, or, where a retrieval
        metric is to score them, hold no pair of a class or nothing else.
    """
    if not isinstance(validation_data, (tuple, list)) or len(validation_data) != 2:
        kind = type(validation_data).__name__
        length = (
            f" of length {len(validation_data)}"
            if hasattr(validation_data, "__len__")
            else ""
        )
        raise TypeError(
            f"validation_data must be a tuple (X, y), got a {kind}{length}."
        )
    X, y = validation_data
    try:
        X = make_source(embedder, X, reset=False)
        found, targets = check_targets(embedder, X, y)
        encode_label_sets(found, classes, names=("its y", "the y to learn from"))
    except (ValueError, TypeError) as error:
        raise type(error)(f"validation_data does not fit: {error}") from error
    sizes = np.bincount(targets)
    if isinstance(embedder.scoring, str) and (len(sizes) < 2 or sizes.max() < 2):
        raise ValueError(
            f"validation_data has too few: its number of classes is {len(sizes)}, and "
            f"of samples in the largest {sizes.max()}. scoring={embedder.scoring!r} "
            "needs 2 or more classes, and a class with 2 or more samples."
        )
    return X, found[targets]


class Validation:
    """Scores held-out samples after every epoch, stops, and restores the best weights.

    Parameters
    ----------
    embedder : BaseEmbedder
        The embedder in training: its ``early_stopping``, ``n_iter_no_change`` and
        ``tol``, and all that its ``transform`` needs except for the net.
    X : ndarray of shape (n, ...)
        Samples, checked.
    y : ndarray of shape (n,)
        Their labels.

    Attributes
    ----------
    best_score, best_epoch : float and int, or None before the first epoch
        The highest score, and the epoch (from 1) that first had it.
    """

    def __init__(self, embedder, X, y):
        self.embedder = copy.copy(embedder)
        # The arrays have lost their column names.
        vars(self.embedder).pop("feature_names_in_", None)
        self.X, self.y = X.as_given, y
        self.scorer = check_scoring(embedder.scoring)
        self.best_score: float | None = None
        self.best_epoch: int | None = None
        self.patience = resolve_patience(embedder)
        self.n_no_change = 0
        self.best_weights: dict | None = None

    def on_epoch_end(self, net):
        """Record the score, and stop where it stands still.

        Parameters
        ----------
        net : EmbeddingNet
        """
        epoch = net.history[-1, "epoch"]
        score = self._score(net, epoch)
        net.history.record("valid_score", score)
        best = -np.inf if self.best_score is None else self.best_score
        improved = score > best
        enough = self.best_score is None or score >= best + self.embedder.tol
        if (improved and enough) or net.schedule_.is_rising:
            self.n_no_change = 0
        else:
            self.n_no_change += 1
        if improved:
            self.best_score, self.best_epoch = score, epoch
            if self.embedder.early_stopping:
                self.best_weights = {
                    name: _copied(part.state_dict()) for name, part in _parts(net)
                }
        if self.embedder.early_stopping and self.n_no_change >= self.patience:
            net.stop()

    def _score(self, net, epoch):
        self.embedder.net_ = net
        score = self.scorer(self.embedder, self.X, self.y)
        try:
            number = float(score) if np.ndim(score) == 0 else np.nan
        except (TypeError, ValueError):
            number = np.nan
        if not np.isfinite(number):
            raise ValueError(
                f"scoring={self.embedder.scoring!r} must return a finite number, got "
                f"{score!r} after epoch {epoch}."
            )
        return number

    def restore(self, net):
        """Put the weights of the best epoch back, if they were kept.

        Parameters
        ----------
        net : EmbeddingNet
        """
        if self.best_weights is not None:
            for name, part in _parts(net):
                part.load_state_dict(self.best_weights[name])

    def state_dict(self):
        """Tell where the validation is.

        Returns
        -------
        dict
            Numbers, and tensors in nested dicts.
        """
        return {
            "best_score": self.best_score,
            "best_epoch": self.best_epoch,
            "n_no_change": self.n_no_change,
            "best_weights": self.best_weights,
        }

    def load_state_dict(self, state):
        """Go on from where another validation was.

        Parameters
        ----------
        state : dict
            As :meth:`state_dict` returns it.
        """
        vars(self).update({name: state[name] for name in self.state_dict()})


def _parts(net):
    return ("module", net.module_), ("criterion", net.criterion_)


def _copied(state):
    return {
        name: value.detach().clone() if isinstance(value, torch.Tensor) else value
        for name, value in state.items()
    }
