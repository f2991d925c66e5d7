"""RetrievalIndex, the search as a scikit-learn estimator."""

from numbers import Integral

import numpy as np
from scipy.sparse import csr_array, csr_matrix
from sklearn import get_config
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from sk_dml.neighbors._search import make_search, resolve_search
from sk_dml.neighbors._validation import (
    METRICS,
    SEARCHES,
    check_choice,
    check_ids,
    check_n_neighbors,
    check_rows,
    join_ids,
)


class RetrievalIndex(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """A gallery to retrieve from: nearest neighbors, their labels and their graph.

    Fit keeps the rows and, where given, a label or id for each. As a transformer it
    returns the graph that scikit-learn's estimators accept as precomputed distances.

    Parameters
    ----------
    n_neighbors : int, default=10
        Default number of neighbors, at least 1.
    metric : {"euclidean", "cosine"}, default="euclidean"
        The distance. That of the cosine is 1 - cos; a row of zeros is at distance 1
        from all.
    search : {"auto", "exact", "approximate"}, default="auto"
        "approximate" walks along a graph of neighbors that pynndescent builds in
        :meth:`fit` [1]_; compiling it takes up to a minute in every process. "auto" is
        exact below 100,000 rows and approximate from there on.
    random_state : int, RandomState instance or None, default=None
        Seeds the approximate search.
    device : str, torch.device or None, default=None
        Where the exact search takes its products of matrices: None for the CPU by
        numpy; "cuda" for the GPU, or "cpu", by torch; "auto" for the GPU if there is
        one, and else as None. The result is the same to the bit.

    Attributes
    ----------
    gallery_ : ndarray of shape (n_samples_fit_, n_features_in_), float32 or float64
        The rows to search among.
    gallery_labels_ : ndarray of shape (n_samples_fit_, ...) or None
        The labels or ids of the rows, as they came.
    search_ : str
        "exact" or "approximate": how this gallery is searched.
    n_samples_fit_ : int
        Number of rows of the gallery.
    n_features_in_ : int
        Number of features seen in :meth:`fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, if X had column names that are all strings.

    See Also
    --------
    nearest_neighbors : The search itself, as a function.
    neighbor_recall : How much an approximate search finds.

    Notes
    -----
    After an embedder, the index holds embeddings and searches for embeddings: call
    ``index.kneighbors(embedder.transform(X))``, in a pipeline
    ``pipeline[-1].kneighbors(pipeline[:-1].transform(X))``. Raw rows of the same width
    are not recognized.

    A pipeline passes one y to all of its steps. For an embedder that learns from
    classes and an index of ids, fit the embedder first, as the examples show.

    References
    ----------
    .. [1] W. Dong, M. Charikar, K. Li. "Efficient K-Nearest Neighbor Graph Construction
           for Generic Similarity Measures". WWW 2011.

    Examples
    --------
    >>> from sk_dml import RetrievalIndex
    >>> index = RetrievalIndex(n_neighbors=2)
    >>> index.fit([[0.0], [2.0], [3.0]], ["ant", "bee", "cat"])
    RetrievalIndex(n_neighbors=2)
    >>> index.kneighbors_labels([[2.9]])
    array([['cat', 'bee']], dtype='<U3')
    >>> index.add([[2.8]], ["dog"]).kneighbors_labels([[2.9]])
    array([['cat', 'dog']], dtype='<U3')

    An embedder that learned from classes, and an index of its embeddings with ids:

    >>> from sklearn.datasets import load_iris
    >>> from sk_dml import NCAEmbedder
    >>> X, classes = load_iris(return_X_y=True)
    >>> ids = [f"flower {i}" for i in range(len(X))]
    >>> embedder = NCAEmbedder(max_epochs=2, random_state=0).fit(X, classes)
    >>> index = RetrievalIndex(n_neighbors=1).fit(embedder.transform(X), ids)
    >>> index.kneighbors_labels(embedder.transform(X[7:9]))
    array([['flower 7'], ['flower 8']], dtype='<U10')

    Both as one pipeline, in which the embedder stays as it is:

    >>> from sklearn.frozen import FrozenEstimator
    >>> from sklearn.pipeline import make_pipeline
    >>> frozen = FrozenEstimator(embedder)
    >>> pipeline = make_pipeline(frozen, RetrievalIndex(n_neighbors=1))
    >>> pipeline.fit(X, ids)[-1].kneighbors_labels(pipeline[:-1].transform(X[7:9]))
    array([['flower 7'], ['flower 8']], dtype='<U10')
    """

    _parameter_constraints = {
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "metric": [StrOptions(set(METRICS))],
        "search": [StrOptions(set(SEARCHES))],
        "random_state": ["random_state"],
        "device": "no_validation",  # by the search
    }

    def __init__(
        self,
        n_neighbors=10,
        *,
        metric="euclidean",
        search="auto",
        random_state=None,
        device=None,
    ):
        self.n_neighbors = n_neighbors
        self.metric = metric
        self.search = search
        self.random_state = random_state
        self.device = device

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Keep a gallery.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows to search among.
        y : array-like of shape (n_samples, ...) or None, default=None
            Labels or ids of the rows, of any kind: numbers, strings, objects.

        Returns
        -------
        self : object
            The index.

        Raises
        ------
        ValueError
            If X is empty or holds NaN or infinity, X and y differ in length, or the
            device is not there.
        """
        rows = np.array(check_rows(X, "X"), order="C")  # a copy
        labels = None if y is None else check_ids(y, rows)
        # For `add`, whatever set_params does meanwhile.
        settings = self.metric, self.search, self.random_state, self.device
        search = make_search(rows, *settings)
        # From here on nothing fails.
        validate_data(self, X, skip_check_array=True)
        self._settings = settings
        return self._keep(rows, labels, search)

    def add(self, X, y=None):
        """Add rows to the gallery.

        The next search prepares itself anew, which takes a while where it is
        approximate: add many rows at once, or search after the last. Parameters set
        since :meth:`fit` wait for the next one, but for ``n_neighbors``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            More rows; their indices follow those of the present ones.
        y : array-like of shape (n_samples, ...) or None, default=None
            Their labels or ids, if :meth:`fit` had any.

        Returns
        -------
        self : object
            The index.

        Raises
        ------
        ValueError
            If X does not fit the gallery, or y its labels or ids.
        """
        check_is_fitted(self)
        X = self._check_rows(X)
        has_ids = self.gallery_labels_ is not None
        if has_ids != (y is not None):
            some, others = ("has", "no") if has_ids else ("has no", "some")
            raise ValueError(
                f"The gallery of {self.n_samples_fit_} rows {some} labels or ids, and "
                f"the {len(X)} rows to add come with {others} y; all rows need them, "
                "or none."
            )
        labels = join_ids(self.gallery_labels_, check_ids(y, X)) if has_ids else None
        return self._keep(np.concatenate([self.gallery_, X]), labels)

    def _keep(self, X, labels, search=None):
        self.gallery_ = X
        self.gallery_labels_ = labels
        self.n_samples_fit_ = self._n_features_out = len(X)
        self.search_ = resolve_search(self._settings[1], len(X))
        self._search = search
        return self

    def _check_rows(self, X):
        rows = check_rows(X, "X")
        validate_data(self, X, reset=False, skip_check_array=True)
        return rows

    def kneighbors(self, X=None, n_neighbors=None, return_distance=True):
        """Find the nearest rows of the gallery.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features) or None, default=None
            The rows to search for. None searches each row of the gallery among all
            others.
        n_neighbors : int or None, default=None
            Number of neighbors; None takes that of the constructor.
        return_distance : bool, default=True
            Whether to return the distances too.

        Returns
        -------
        distances : ndarray of shape (n_queries, n_neighbors), float64
            From nearest to farthest; only with ``return_distance=True``.
        indices : ndarray of shape (n_queries, n_neighbors), int64
            Rows of the gallery. Those at equal distance are in order of their index.
        """
        distances, indices = self._kneighbors(X, n_neighbors)
        return (distances, indices) if return_distance else indices

    def _kneighbors(self, X, n_neighbors, extra=0):
        check_is_fitted(self)
        is_self = X is None
        X = self.gallery_ if is_self else self._check_rows(X)
        n_neighbors = check_n_neighbors(
            self.n_neighbors if n_neighbors is None else n_neighbors,
            self.n_samples_fit_,
            is_self=is_self,
            extra=extra,
        )
        own = np.arange(self.n_samples_fit_) if is_self else None
        if self._search is None:
            self._search = make_search(self.gallery_, *self._settings)
        return self._search.search(X, n_neighbors, own)

    def kneighbors_labels(self, X=None, n_neighbors=None):
        """Find the labels or ids of the nearest rows of the gallery.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features) or None, default=None
            The rows to search for. None searches each row of the gallery among all
            others.
        n_neighbors : int or None, default=None
            Number of neighbors; None takes that of the constructor.

        Returns
        -------
        ndarray of shape (n_queries, n_neighbors, ...)
            Of the dtype of ``gallery_labels_``, from nearest to farthest.

        Raises
        ------
        ValueError
            If :meth:`fit` had no labels or ids.
        """
        check_is_fitted(self)
        if self.gallery_labels_ is None:
            raise ValueError(
                f"This RetrievalIndex has no labels: its {self.n_samples_fit_} rows "
                "came without y. Pass y to fit."
            )
        return self.gallery_labels_[self._kneighbors(X, n_neighbors)[1]]

    def kneighbors_graph(self, X=None, n_neighbors=None, mode="distance"):
        """Connect every row with its nearest ones of the gallery.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features) or None, default=None
            The rows to search for. None searches each row of the gallery among all
            others.
        n_neighbors : int or None, default=None
            Number of neighbors; None takes that of the constructor.
        mode : {"distance", "connectivity"}, default="distance"
            Whether edges hold their distance, zeros too, or 1.

        Returns
        -------
        sparse matrix of shape (n_queries, n_samples_fit_), float64
            In CSR format, every row's edges sorted by distance.
        """
        check_choice(mode, ("distance", "connectivity"), "mode")
        distances, indices = self._kneighbors(X, n_neighbors)
        if mode == "connectivity":
            distances = np.ones_like(distances)
        return self._graph(distances, indices)

    def _graph(self, weights, indices):
        starts = np.arange(len(indices) + 1) * indices.shape[1]
        as_array = get_config()["sparse_interface"] == "sparray"
        return (csr_array if as_array else csr_matrix)(
            (weights.ravel(), indices.ravel(), starts),
            shape=(len(indices), self.n_samples_fit_),
        )

    def transform(self, X):
        """Connect every row with its nearest ones of the gallery, for precomputed use.

        As in scikit-learn's KNeighborsTransformer, there is one neighbor more than
        ``n_neighbors``: rows of the gallery find themselves here, and estimators that
        take precomputed graphs leave them out. Copies of a row are as near as itself:
        of more than ``n_neighbors + 1`` only those of the lowest indices are found.

        Parameters
        ----------
        X : array-like of shape (n_queries, n_features)
            The rows to search for.

        Returns
        -------
        sparse matrix of shape (n_queries, n_samples_fit_), float64
            Distances to the ``n_neighbors + 1`` nearest rows, in CSR format, every
            row's sorted by distance.
        """
        check_is_fitted(self)
        if X is None:
            raise ValueError("transform needs rows, got X=None.")
        return self._graph(*self._kneighbors(X, None, extra=1))

    def fit_transform(self, X, y=None):
        """Keep a gallery and connect its rows with their nearest ones.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The rows to search among.
        y : array-like of shape (n_samples, ...) or None, default=None
            Labels or ids of the rows, of any kind.

        Returns
        -------
        sparse matrix of shape (n_samples, n_samples), float64
            Each row's distance to itself, which is 0, and then to the ``n_neighbors``
            nearest others, in CSR format, every row's sorted by distance.
        """
        distances, indices = self.fit(X, y)._kneighbors(None, None)
        own = np.arange(len(indices))[:, None]
        distances = np.hstack([np.zeros_like(own, dtype=np.float64), distances])
        return self._graph(distances, np.hstack([own, indices]))
