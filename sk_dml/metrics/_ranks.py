"""Rank metrics, with ties as expectations."""

# How it works. Items that are tied, seen from a query, make a group. No order among
# them is better founded than another, and the order of the rows must not matter: so
# every metric is its mean over all orders of a group, in closed form (McSherry and
# Najork, "Computing Information Retrieval Performance Measures Efficiently in the
# Presence of Tied Scores", ECIR 2008).
#
# A group is described by four numbers: `position` items are nearer, of which
# `hits_before` are relevant; it has `size` items, of which `hits` are relevant. Orders
# of different groups are independent, and a metric is a sum over ranks: so it is a sum
# over groups, and groups without relevant items add nothing and are left out.
#
# In a random order of a group, each of its ranks is relevant with probability hits /
# size. Given that one is, the other hits - 1 relevant items are spread evenly over the
# other size - 1 ranks: at the j-th rank of the group, hits_before + 1 + (j - 1) (hits -
# 1) / (size - 1) relevant items are expected so far. Precision divides that by the
# rank, position + j; its sum over j is a number of ranks and a harmonic sum, which is a
# difference of two digamma functions: no loop over ranks, however large the group. A
# cut at rank R or k cuts the group at a rank, and the same sums end there.
#
# For recall the question is whether the first ranks hold any relevant item: only the
# nearest group decides, by a quotient of binomial coefficients, in logarithms for large
# groups. For groups of one item all of this is the plain definition.
#
# Memory: arrays with an entry for each group.

from dataclasses import dataclass

import numpy as np
from scipy.special import digamma, gammaln


@dataclass
class Ranks:
    """Groups of tied items that hold the relevant items of n queries.

    The groups of a query follow each other, the nearest first.
    """

    n_relevant: np.ndarray  # (n,), R: relevant items in the whole gallery
    query: np.ndarray  # (n_groups,), whose group it is
    position: np.ndarray  # (n_groups,), items that are nearer than the group
    hits_before: np.ndarray  # (n_groups,), relevant ones among them
    hits: np.ndarray  # (n_groups,), relevant items in the group, at least 1
    size: np.ndarray  # (n_groups,), all items in the group

    def total(self, terms):
        """Return the sums by query, (n,), of terms of the groups."""
        return np.bincount(self.query, terms, minlength=len(self.n_relevant))

    def nearest(self):
        """Return the index of the first group of every query that has one."""
        return np.flatnonzero(np.diff(self.query, prepend=-1))


def precision_at_k(ranks, k):
    """Return the share of relevant items among the k nearest, (n,)."""
    k = np.broadcast_to(k, ranks.n_relevant.shape)
    drawn = np.clip(k[ranks.query] - ranks.position, 0, ranks.size)
    return ranks.total(ranks.hits * (drawn / ranks.size)) / np.maximum(k, 1)


def r_precision(ranks):
    """Return the share of relevant items among the R nearest, (n,)."""
    return precision_at_k(ranks, ranks.n_relevant)


def recall_at_k(ranks, k):
    """Return the probability that one of the k nearest is relevant, (n,)."""
    first = ranks.nearest()
    size, hits = ranks.size[first], ranks.hits[first]
    drawn = np.clip(k - ranks.position[first], 0, size)
    # Drawing from the group without a hit: C(size - hits, drawn) / C(size, drawn).
    misses = size - hits
    possible = misses >= drawn
    free = np.where(possible, misses, drawn)
    log_miss = gammaln(free + 1) - gammaln(free - drawn + 1)
    log_miss -= gammaln(size + 1) - gammaln(size - drawn + 1)
    recall = np.zeros(len(ranks.n_relevant))
    recall[ranks.query[first]] = np.where(possible, -np.expm1(log_miss), 1.0)
    return recall


def map_at_r(ranks):
    """Return the sum of precision@i over relevant ranks i <= R, over R, (n,)."""
    return _average_precision(ranks, ranks.n_relevant[ranks.query])


def average_precision(ranks):
    """Return the mean precision at the ranks of relevant items, (n,)."""
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
    """Return one divided by the rank of the nearest relevant item, (n,)."""
    first = ranks.nearest()
    groups = np.stack([ranks.position, ranks.size, ranks.hits], axis=1)[first]
    # Many queries share a group: each kind is computed once.
    distinct, kind = np.unique(groups, axis=0, return_inverse=True)
    values = np.array([_expected_reciprocal(*group) for group in distinct])
    reciprocal = np.zeros(len(ranks.n_relevant))
    reciprocal[ranks.query[first]] = values[kind] if len(values) else 0.0
    return reciprocal


def _expected_reciprocal(position, size, hits):
    # The first hit is the j-th of the group in C(size - j, hits - 1) of C(size, hits).
    j = np.arange(1, size - hits + 2)
    log_share = gammaln(size - j + 1) - gammaln(size - j - hits + 2) - gammaln(hits)
    log_share -= gammaln(size + 1) - gammaln(size - hits + 1) - gammaln(hits + 1)
    return (np.exp(log_share) / (position + j)).sum()
