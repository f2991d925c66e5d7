"""Rank metrics from where the relevant items stand among the others.

Items at equal distance from a query make a group. No order among them is better founded
than another, so every metric is its mean over all orders of a group, in closed form
[1]_.

References
----------
.. [1] F. McSherry, M. Najork. "Computing Information Retrieval Performance Measures
       Efficiently in the Presence of Tied Scores". ECIR 2008.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import digamma, gammaln


@dataclass
class Ranks:
    """Where the relevant items of n queries stand, a group of equally near ones a row.

    The groups of a query stand together, the nearest first.

    Attributes
    ----------
    n_relevant : ndarray of shape (n,)
        Relevant items in the whole gallery, R; 0 where there is nothing to find.
    query : ndarray of shape (n_groups,)
        Whose group it is.
    position : ndarray of shape (n_groups,)
        Items that are nearer than the group.
    hits_before : ndarray of shape (n_groups,)
        How many of them are relevant.
    hits : ndarray of shape (n_groups,)
        Relevant items in the group, at least 1.
    size : ndarray of shape (n_groups,)
        All items in the group.
    """

    n_relevant: np.ndarray
    query: np.ndarray
    position: np.ndarray
    hits_before: np.ndarray
    hits: np.ndarray
    size: np.ndarray

    def total(self, terms):
        """Sum terms of the groups by query."""
        return np.bincount(self.query, terms, minlength=len(self.n_relevant))

    def nearest(self):
        """Tell the first group of every query that has one."""
        return np.flatnonzero(np.diff(self.query, prepend=-1))


def precision_at_k(ranks, k):
    """Share of relevant items among the k nearest neighbours.

    Parameters
    ----------
    ranks : Ranks
    k : int or ndarray of shape (n,)

    Returns
    -------
    ndarray of shape (n,)
    """
    k = np.broadcast_to(k, ranks.n_relevant.shape)
    drawn = np.clip(k[ranks.query] - ranks.position, 0, ranks.size)
    return ranks.total(ranks.hits * (drawn / ranks.size)) / np.maximum(k, 1)


def r_precision(ranks):
    """Share of relevant items among the R nearest neighbours.

    Parameters
    ----------
    ranks : Ranks

    Returns
    -------
    ndarray of shape (n,)
    """
    return precision_at_k(ranks, ranks.n_relevant)


def recall_at_k(ranks, k):
    """Probability that one of the k nearest neighbours is relevant.

    Parameters
    ----------
    ranks : Ranks
    k : int

    Returns
    -------
    ndarray of shape (n,)
    """
    first = ranks.nearest()
    size, hits = ranks.size[first], ranks.hits[first]
    drawn = np.clip(k - ranks.position[first], 0, size)
    # Drawing from the group without a hit: C(size - hits, drawn) / C(size, drawn).
    misses = size - hits
    possible = misses >= drawn
    free = np.where(possible, misses, drawn)
    log_miss = gammaln(free + 1) - gammaln(free - drawn + 1)
    log_miss -= gammaln(size + 1) - gammaln(size - drawn + 1)
    found = np.zeros(len(ranks.n_relevant))
    found[ranks.query[first]] = np.where(possible, -np.expm1(log_miss), 1.0)
    return found


def map_at_r(ranks):
    """Mean over the ranks up to R of precision, counted where a rank is relevant.

    Parameters
    ----------
    ranks : Ranks

    Returns
    -------
    ndarray of shape (n,)
    """
    return _average_precision(ranks, ranks.n_relevant[ranks.query])


def average_precision(ranks):
    """Mean over the relevant items of the precision at their ranks.

    Parameters
    ----------
    ranks : Ranks

    Returns
    -------
    ndarray of shape (n,)
    """
    return _average_precision(ranks, np.inf)


def _average_precision(ranks, limit):
    position, size, hits = ranks.position, ranks.size, ranks.hits
    end = np.minimum(position + size, limit)
    n_ranks = np.maximum(end - position, 0)
    # At the i-th rank, given that it is relevant, so many of the i are expected to be:
    # hits_before + 1 + slope * (i - 1 - position).
    slope = (hits - 1) / np.maximum(size - 1, 1)
    first = ranks.hits_before + 1 - slope * (position + 1)
    # The sum of 1 / i over the ranks of the group: mostly one, or none.
    harmonic = (n_ranks > 0) / (position + 1)
    many = n_ranks > 1
    ends = (position + n_ranks + 1)[many]
    harmonic[many] = digamma(ends) - digamma(position[many] + 1)
    terms = hits / size * (slope * n_ranks + first * harmonic)
    return ranks.total(terms) / np.maximum(ranks.n_relevant, 1)


def reciprocal_rank(ranks):
    """One divided by the rank of the nearest relevant item.

    Parameters
    ----------
    ranks : Ranks

    Returns
    -------
    ndarray of shape (n,)
    """
    first = ranks.nearest()
    groups = np.stack([ranks.position, ranks.size, ranks.hits], axis=1)[first]
    distinct, place = np.unique(groups, axis=0, return_inverse=True)
    values = np.array([_expected_reciprocal(*group) for group in distinct])
    found = np.zeros(len(ranks.n_relevant))
    found[ranks.query[first]] = values[place] if len(values) else 0.0
    return found


def _expected_reciprocal(position, size, hits):
    # The first hit is the j-th of the group in C(size - j, hits - 1) of C(size, hits).
    j = np.arange(1, size - hits + 2)
    log_share = gammaln(size - j + 1) - gammaln(size - j - hits + 2) - gammaln(hits)
    log_share -= gammaln(size + 1) - gammaln(size - hits + 1) - gammaln(hits + 1)
    return (np.exp(log_share) / (position + j)).sum()
