"""BaseEmbedder: all that makes a trained network a scikit-learn transformer."""

import copy
from dataclasses import dataclass
from typing import ClassVar

from sklearn.base import (
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils.validation import check_is_fitted

from sk_dml._fitting import Fitting, drop_fitted
from sk_dml._training import (
    SPREAD_SCHEDULES,
    CallbackSupportMixin,
    callback_tasks,
    check_inputs,
    with_callbacks,
)
from sk_dml.utils import add_shared_documentation


@dataclass(eq=False, repr=False)
class BaseEmbedder(
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    Fitting,
):
    """Base class of all embedders.

    A subclass is a keyword-only dataclass in one file with its loss. It adds the
    parameters of its method with their constraints, and ``_make_loss``. Most derive
    from PairEmbedder or ProxyEmbedder.
    """

    _doc_link_module = "sk_dml"
    _doc_link_template = (
        "https://sk-dml.readthedocs.io/en/stable/methods/{estimator_name}.html"
    )

    # What to search in, by parameter; a subclass names those of its own method.
    _search_space: ClassVar[dict] = {}

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if cls._make_loss is not BaseEmbedder._make_loss:  # it is a method
            add_shared_documentation(cls)

    @classmethod
    def search_space(cls):
        """Give the parameters of the method's paper, each with values to search.

        Returns
        -------
        dict of str to scipy.stats distribution or list
            As :class:`sklearn.model_selection.RandomizedSearchCV` and
            :class:`sk_dml.benchmark.RealityCheck` take it. Methods that learn proxies
            have the learning rate of these too. Change it as you like: it is a copy.

        Examples
        --------
        >>> from sk_dml import TripletEmbedder
        >>> sorted(TripletEmbedder.search_space())
        ['margin', 'mining']
        """
        space: dict = {}
        for base in reversed(cls.__mro__):
            space |= vars(base).get("_search_space", {})
        return copy.deepcopy(space)

    @property
    def _compares_samples(self):
        """Whether the loss compares the samples of a batch with each other."""
        return False

    @property
    def _spread_over_epochs(self):
        """The parameters by which every epoch depends on ``max_epochs``."""
        spread = [f"lr_schedule={self.lr_schedule!r}"]
        return spread if self.lr_schedule in SPREAD_SCHEDULES else []

    def _make_loss(self, n_classes):
        """Build the loss, a torch Module called with (embeddings, labels)."""
        raise NotImplementedError

    def _make_criterion(self, n_classes, n_samples):
        """Build what the net minimises: the loss, and what may be around it."""
        loss = self._make_loss(n_classes)
        if self.proxy_lr is not None and not list(loss.parameters()):
            raise ValueError(
                f"proxy_lr={self.proxy_lr} has no effect: {type(loss).__name__} learns "
                "no parameters. Allowed is None."
            )
        return loss

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, *, validation_data=None):
        """Learn the embedding.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            Rows; or images of shape (n, height, width), (n, channels, height, width)
            or (n, height, width, channels), float or uint8. Of four axes the last
            holds the channels if it is at most 4 long and the second is longer, and
            the second does otherwise; more channels go first. Images may be in a
            memmap. Or paths of image files, in an array of one axis, a
            list or a Series; or a dataset of images, see
            :class:`sk_dml.datasets.ImageSequence`. Memmaps, files and datasets are read
            batch by batch; but what splits a memmap, as GridSearchCV does, copies every
            part into memory, and splits paths or an ImageSequence without reading.
            Inputs are standardised inside. Missing values are refused:
            impute them before.
        y : array-like of shape (n_samples,)
            The classes: strings, integers, booleans or objects.
        validation_data : tuple (X, y) or None, default=None
            Samples to score after every epoch, of the same classes or others. None
            holds some of X out if ``early_stopping=True``. The steps before in a
            Pipeline do not transform them: give them as these would.

        Returns
        -------
        self : object
            The fitted embedder.

        Raises
        ------
        ValueError
            If the data or a parameter do not fit, an image cannot be read,
            ``checkpoint_dir`` holds another training, training diverges, or the scorer
            returns no number.
        TypeError
            If y mixes labels of several kinds; or X is a mapping, an iterator or a
            single path.
        OSError
            If a checkpoint cannot be written, and the one before it stays; or another
            fit is using ``checkpoint_dir``.
        FileNotFoundError
            If files of images are missing.
        ImportError
            If X holds files or a dataset of images, and Pillow is not installed.

        Warns
        -----
        UserWarning
            If the fit was interrupted after its first epoch (a search goes on with its
            next fit), or came to nothing: the embedding collapsed to a point or a line,
            the gradient died or overflowed, or the loss was always 0. If images were
            left out, or random weights are frozen.
        """
        if not self.warm_start:
            drop_fitted(self)  # a failed fit leaves nothing of the one before
        tasks = callback_tasks(self, X, y, self._fitted_attributes)
        return self._train(X, y, validation_data=validation_data, tasks=tasks)

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, classes=None):
        """Go on learning, for one epoch of these samples.

        The learning rate is ``lr`` throughout, whatever the schedule. With all samples
        in every call, as many calls as ``max_epochs`` do what :meth:`fit` does with
        ``lr_schedule=None``. Inputs are standardised by the first call's samples.
        Nothing is held out, and the callbacks of :meth:`set_callbacks` are not called.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            Samples as :meth:`fit` takes them, of one shape in all calls.
        y : array-like of shape (n_samples,)
            Their classes, two or more. Later calls may bring new ones only if the loss
            learns nothing for each class: proxies are made in the first call. Those
            that early stopping held out of :meth:`fit` are new too.
        classes : array-like of shape (n_classes,), default=None
            All classes of this call and, for a loss with proxies, of later ones. None
            takes those of y, and those known before.

        Returns
        -------
        self : object
            The embedder.

        Raises
        ------
        ValueError
            If the data or a parameter do not fit, y has new classes and the loss
            proxies, ``checkpoint_dir`` is set, or training diverges. What was learned
            before stays.
        TypeError
            If y mixes labels of several kinds.

        Warns
        -----
        UserWarning
            If training was interrupted, or came to nothing: the embedding collapsed to
            a point or a line, the gradient died or overflowed, or the loss was 0.
        """
        self._validate_params()
        if self.checkpoint_dir is not None:
            raise ValueError(
                f"checkpoint_dir={self.checkpoint_dir!r} is for fit: partial_fit "
                "cannot know which call to go on from. Allowed is None."
            )
        return self._train(X, y, classes=classes, partial=True)

    def transform(self, X):
        """Embed samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or images
            Samples of the kind and shape that :meth:`fit` saw.

        Returns
        -------
        ndarray of shape (n_samples, n_components), float32
            Rows of Euclidean length one (or zero, where the network returns zeros):
            the Euclidean distance and the cosine similarity order neighbours alike.
            With ``on_bad_image="skip"``, images that cannot be read have rows of NaN,
            which searches and classifiers refuse: leave them out, by
            ``~np.isnan(embedding).any(axis=1)``.

        Raises
        ------
        NotFittedError
            If the embedder is not fitted.
        ValueError
            If X has other features, or images another shape or scale, than in fit; or
            an image cannot be read.
        FileNotFoundError
            If files of images are missing.

        Warns
        -----
        UserWarning
            If images cannot be read and have rows of NaN: how many, and which. If
            images seem to be on another scale than in fit.
        """
        check_is_fitted(self, "net_")
        X = check_inputs(self, X, reset=False)
        return self.net_.embed(X)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        tags.input_tags.three_d_array = True
        return tags
