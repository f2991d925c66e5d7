"""Similarities within and between classes, of sampled or of the hardest pairs."""

import numpy as np
from sklearn import get_config
from sklearn.utils import gen_batches

from sk_dml.inspection._data import draw_sample, warn_left_out


def sampled_pairs(rows, codes, n_pairs, random_state):
    """Compare pairs of one class and pairs of two, drawn at random.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_features), float64
        Of length one.
    codes : ndarray of shape (n_samples,), int64
    n_pairs : int
        How many of either; all there are, if they are no more.
    random_state : RandomState instance

    Returns
    -------
    positives, negatives : ndarray of shape (<= n_pairs,), float64
    totals : tuple of two int
        How many pairs there are of either.
    """
    order = np.argsort(codes, kind="stable")
    rows = rows[order]
    places = np.arange(len(rows))
    ends = np.cumsum(np.bincount(codes))[codes[order]]
    # Of all pairs i < j, those of one class come first: j from i + 1 to the class's
    # end. The others of i follow.
    similarities, totals = [], []
    for first, last in ((places + 1, ends), (ends, len(rows))):
        until = np.cumsum(last - first)
        total = int(until[-1])
        if total <= n_pairs:
            flat = np.arange(total)
        else:
            flat = random_state.randint(total, size=n_pairs, dtype=np.int64)
        i = np.searchsorted(until, flat, side="right")
        j = last[i] if isinstance(last, np.ndarray) else last
        j = j - (until[i] - flat)
        similarities.append(np.einsum("ij,ij->i", rows[i], rows[j]))
        totals.append(total)
    return *similarities, tuple(totals)


def anchor_pairs(rows, codes, n_anchors, n_negatives, random_state):
    """Find the least similar of an anchor's class, and the most similar of others.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_features), float64
        Of length one.
    codes : ndarray of shape (n_samples,), int64
    n_anchors : int or None
        How many anchors to draw. None takes all.
    n_negatives : int or None
        How many samples of other classes to draw for every anchor, with replacement.
        None takes the most similar one.
    random_state : RandomState instance

    Returns
    -------
    positives, negatives : ndarray of shape (n,), float64
        A pair of similarities in each place.
    n_possible : int
        How many samples can be anchors.
    """
    sizes = np.bincount(codes)[codes]
    possible = np.flatnonzero((sizes > 1) & (sizes < len(codes)))
    if not len(possible):
        raise ValueError(
            "No sample has another of its class and one of another class, so there is "
            "nothing to compare; give 2 or more classes, one with 2 or more samples."
        )
    n_left_out = len(codes) - len(possible)
    warn_left_out(n_left_out, len(codes), "nothing else is of their class")
    anchors = possible[draw_sample(len(possible), n_anchors, random_state)]
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes))[codes]
    positives, negatives = [], []
    available = get_config()["working_memory"] * 2**20
    block = max(1, int(available / (32 * len(rows))))
    for batch in gen_batches(len(anchors), block):
        index = anchors[batch]
        similarities = rows[index] @ rows.T
        same = codes == codes[index, None]
        other = np.where(same, -np.inf, similarities)
        same[np.arange(len(index)), index] = False
        hardest = np.where(same, similarities, np.inf).min(axis=1)
        if n_negatives is None:
            negatives.append(other.max(axis=1))
        else:
            size = sizes[index, None]
            # A place among the others, counted past the anchor's own class.
            drawn = random_state.randint(
                len(rows) - size, size=(len(index), n_negatives)
            )
            drawn = np.where(drawn < ends[index, None] - size, drawn, drawn + size)
            drawn = np.take_along_axis(similarities, order[drawn], axis=1)
            negatives.append(drawn.ravel())
            hardest = np.repeat(hardest, n_negatives)
        positives.append(hardest)
    return np.concatenate(positives), np.concatenate(negatives), len(possible)
