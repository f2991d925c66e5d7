"""What a ranking with ties is worth: expectations over all orders of tied items.

The first neighbours of every query arrive as a :class:`Ranking`. Where neighbours are
equally near, no order among them is better founded than another, so every score is the
mean over all of them, in closed form [1]_.

References
----------
.. [1] F. McSherry, M. Najork. "Computing Information Retrieval Performance Measures
       Efficiently in the Presence of Tied Scores". ECIR 2008.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln


@dataclass
class Ranking:
    """The first ``depth`` ranks of n queries, described by groups of equal similarity.

    Attributes
    ----------
    n_before : ndarray of shape (n, depth)
        Ranks before the group that a rank belongs to.
    n_tied : ndarray of shape (n, depth)
        Members of that group in the whole gallery, those beyond ``depth`` included.
    hits_before, hits_tied : ndarray of shape (n, depth)
        How many of either are relevant.
    n_relevant : ndarray of shape (n,)
        Relevant items in the whole gallery, R, at least 1.
    """

    n_before: np.ndarray
    n_tied: np.ndarray
    hits_before: np.ndarray
    hits_tied: np.ndarray
    n_relevant: np.ndarray


def rank(similarities, relevant, depth):
    """Rank the gallery for every query, as deep as the scores need.

    Parameters
    ----------
    similarities : ndarray of shape (n, n_gallery), float
        -inf is not in the gallery.
    relevant : ndarray of shape (n, n_gallery), bool
    depth : int
        Ranks to describe, at most the number of finite similarities of a query.

    Returns
    -------
    Ranking
    """
    n_relevant = relevant.sum(axis=1)
    last = similarities.shape[1] - depth
    nearest = np.argpartition(similarities, last, axis=1)[:, last:]
    values = np.take_along_axis(similarities, nearest, axis=1)
    order = np.argsort(-values, axis=1)
    values = np.take_along_axis(values, order, axis=1)
    hits = np.take_along_axis(
        relevant, np.take_along_axis(nearest, order, axis=1), axis=1
    )

    positions = np.arange(depth)
    is_first = np.ones(values.shape, dtype=bool)
    is_first[:, 1:] = values[:, 1:] != values[:, :-1]
    first = np.maximum.accumulate(np.where(is_first, positions, 0), axis=1)
    is_last = np.roll(is_first, -1, axis=1)
    is_last[:, -1] = True
    ends = np.where(is_last, positions + 1, depth)
    end = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]

    hits_until = np.zeros((len(hits), depth + 1), dtype=np.int64)
    hits.cumsum(axis=1, out=hits_until[:, 1:])
    hits_before = np.take_along_axis(hits_until, first, axis=1)
    hits_tied = np.take_along_axis(hits_until, end, axis=1) - hits_before
    n_tied = end - first
    # The group at the end may go on beyond the depth.
    equal = similarities == values[:, -1:]
    at_end = end == depth
    n_tied = np.where(at_end, equal.sum(axis=1)[:, None], n_tied)
    hits_tied = np.where(at_end, (equal & relevant).sum(axis=1)[:, None], hits_tied)
    return Ranking(first, n_tied, hits_before, hits_tied, n_relevant)


def precision_at_1(ranking):
    """Relevance of the nearest neighbour.

    Parameters
    ----------
    ranking : Ranking

    Returns
    -------
    ndarray of shape (n,)
    """
    return ranking.hits_tied[:, 0] / ranking.n_tied[:, 0]


def recall_at_k(ranking, k):
    """Probability that one of the k nearest neighbours is relevant.

    Parameters
    ----------
    ranking : Ranking
    k : int

    Returns
    -------
    ndarray of shape (n,)
    """
    tied, hits = ranking.n_tied[:, k - 1], ranking.hits_tied[:, k - 1]
    drawn = k - ranking.n_before[:, k - 1]
    # Drawing from the tied ones without a hit: C(tied - hits, drawn) / C(tied, drawn).
    misses = tied - hits
    possible = misses >= drawn
    free = np.where(possible, misses, drawn)
    log_miss = gammaln(free + 1) - gammaln(free - drawn + 1)
    log_miss -= gammaln(tied + 1) - gammaln(tied - drawn + 1)
    miss = np.where(possible, np.exp(np.where(hits > 0, log_miss, 0.0)), 0.0)
    return np.where(ranking.hits_before[:, k - 1] > 0, 1.0, 1 - miss)


def r_precision(ranking):
    """Share of relevant items among the R nearest neighbours.

    Parameters
    ----------
    ranking : Ranking

    Returns
    -------
    ndarray of shape (n,)
    """
    r = ranking.n_relevant
    at = (np.arange(len(r)), r - 1)
    drawn = r - ranking.n_before[at]
    tied = ranking.hits_tied[at] * drawn / ranking.n_tied[at]
    return (ranking.hits_before[at] + tied) / r


def map_at_r(ranking):
    """Mean over the ranks up to R of precision, counted where a rank is relevant.

    Parameters
    ----------
    ranking : Ranking

    Returns
    -------
    ndarray of shape (n,)
    """
    r = ranking.n_relevant
    ranks = np.arange(1, ranking.n_tied.shape[1] + 1)
    chance = ranking.hits_tied / ranking.n_tied
    # Given that a rank is relevant, the expected hits among the tied ones before it.
    earlier = (ranks - 1 - ranking.n_before) * (ranking.hits_tied - 1)
    earlier = earlier / np.maximum(ranking.n_tied - 1, 1)
    terms = chance * (ranking.hits_before + 1 + earlier) / ranks
    return np.where(ranks <= r[:, None], terms, 0).sum(axis=1) / r
