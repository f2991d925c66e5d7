"""Validation: samples held out, their score after every epoch, and early stopping."""

import copy

import numpy as np
from sklearn.model_selection import StratifiedShuffleSplit

from sk_dml._inputs import make_source
from sk_dml._inputs._bad_images import drop_bad_images
from sk_dml._supervision._classes import check_targets
from sk_dml._training._callbacks import OwnCallback
from sk_dml._training._optimizer import SPREAD_SCHEDULES
from sk_dml._training._sampling import check_batch_size
from sk_dml._utils._labels import encode_label_sets
from sk_dml.metrics._evaluate import check_options
from sk_dml.scorers import retrieval_scorer

# Epochs without progress to wait for; a share of all epochs where the falling rates at
# the end of the training bring progress again.
PATIENCE, PATIENCE_SHARE = 10, 0.25
# With fewer classes than these, nearly every score is perfect.
FEWEST_CLASSES = 5


def check_scoring(scoring):
    """Return the scorer ``scorer(estimator, X, y)`` that ``scoring`` is or names."""
    if callable(scoring):
        _refuse_metrics(scoring)
        return scoring
    try:
        check_options(scoring, extra=())
    except ValueError as error:
        raise ValueError(
            f"scoring={scoring!r}: {error} A callable scorer(estimator, X, y) is "
            "allowed too."
        ) from error
    return retrieval_scorer(scoring)


def _refuse_metrics(scoring):
    """Refuse functions of metrics, recognized by their modules as scikit-learn does."""
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
        f"scoring={metric} is a metric of embeddings and labels, no scorer of an "
        f"estimator, X and y. Give {way_out}."
    )


def resolve_patience(embedder):
    """Return the number of epochs without progress before training stops."""
    if embedder.n_iter_no_change != "auto":
        return embedder.n_iter_no_change
    if embedder.lr_schedule not in SPREAD_SCHEDULES:
        return PATIENCE
    return max(PATIENCE, round(PATIENCE_SHARE * embedder.max_epochs))


def split_validation(embedder, X, classes, targets, seed):
    """Return samples to learn from: X, classes, targets; and to validate on: (X, y).

    X is of shape (n, ...), targets (n,) are indices into classes. A warm start holds
    out what the fit before did.
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
    """Return the mask (n_samples,) of the samples to validate on.

    Where ``fraction`` of the classes with two or more samples comes to five or more, so
    many classes are held out whole. Otherwise the fraction of every class is; a class
    that this leaves with fewer than two samples on either side stays in training.
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
                "of samples to score, or none to learn from. Choose another fraction, "
                "or give validation_data to fit."
            )
        return mask
    if len(sizes) - n_held < 2:
        raise ValueError(
            f"{given} leaves {len(sizes) - n_held} to learn from. Choose a smaller "
            "fraction: 2 or more are needed."
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
    """Return ``validation_data`` as X (n, ...) and labels (n,), once they are checked.

    ``classes`` are those of the training data; its own may be others, of the same kind.
    """
    if not isinstance(validation_data, (tuple, list)) or len(validation_data) != 2:
        length = ""
        if hasattr(validation_data, "__len__"):
            length = f" of length {len(validation_data)}"
        raise TypeError(
            "validation_data must be a tuple (X, y), got a "
            f"{type(validation_data).__name__}{length}."
        )
    X, y = validation_data
    try:
        X = make_source(embedder, X, reset=False)
        own_classes, targets = check_targets(embedder, X, y)
        encode_label_sets(own_classes, classes, names=("its y", "the y to learn from"))
    except (ValueError, TypeError) as error:
        raise type(error)(f"validation_data does not fit: {error}") from error
    sizes = np.bincount(targets)
    if isinstance(embedder.scoring, str) and (len(sizes) < 2 or sizes.max() < 2):
        raise ValueError(
            f"validation_data has too few: its number of classes is {len(sizes)}, and "
            f"of samples in the largest {sizes.max()}. scoring={embedder.scoring!r} "
            "needs 2 or more of each."
        )
    if X.on_bad_image == "skip":
        return drop_bad_images(embedder, X, own_classes[targets])
    return X, own_classes[targets]


class Validation(OwnCallback):
    """Score held-out samples after every epoch, stop, and restore the best weights.

    ``best_score`` is the highest score, and ``best_epoch`` (from 1) the epoch that
    first had it; None before the first epoch. X is of shape (n, ...), y (n,).
    """

    def __init__(self, embedder, X, y):
        self.embedder = copy.copy(embedder)  # with all that transform needs, but a net
        # The arrays have lost their column names.
        vars(self.embedder).pop("feature_names_in_", None)
        self.X, self.y = X.as_given, y
        self.scorer = check_scoring(embedder.scoring)
        self.patience = resolve_patience(embedder)
        self.best_score: float | None = None
        self.best_epoch: int | None = None
        self.best_weights: dict | None = None
        self.n_no_change = 0

    def on_epoch_end(self, net, **kwargs):
        """Record the score, and stop where it no longer rises."""
        epoch = net.history[-1, "epoch"]
        score = self._score(net, epoch)
        best = -np.inf if self.best_score is None else self.best_score
        is_better = score > best
        net.history.record("valid_score", score)
        net.history.record("valid_score_best", is_better)
        is_enough = self.best_score is None or score >= best + self.embedder.tol
        if (is_better and is_enough) or net.schedule_.is_rising:
            self.n_no_change = 0
        else:
            self.n_no_change += 1
        if is_better:
            self.best_score, self.best_epoch = score, epoch
            if self.embedder.early_stopping:
                self.best_weights = {
                    name: copy.deepcopy(part.state_dict()) for name, part in _parts(net)
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
        """Load the weights of the best epoch, if they were kept."""
        if self.best_weights is not None:
            for name, part in _parts(net):
                part.load_state_dict(self.best_weights[name])

    def state_dict(self):
        """Return what is needed to go on: numbers, and tensors in nested dicts."""
        return {
            "best_score": self.best_score,
            "best_epoch": self.best_epoch,
            "n_no_change": self.n_no_change,
            "best_weights": self.best_weights,
        }

    def load_state_dict(self, state):
        """Go on from where another validation was."""
        self.__dict__.update({name: state[name] for name in self.state_dict()})


def _parts(net):
    return ("module", net.module_), ("criterion", net.criterion_)
