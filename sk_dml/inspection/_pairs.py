"""Similarities within and between classes, of sampled or of the hardest pairs."""

import numpy as np
from sklearn import get_config
from sklearn.utils import gen_batches
from sklearn.utils.random import sample_without_replacement

from sk_dml.inspection._data import draw_sample, warn_left_out
from sk_dml.metrics import sample_pairs


def sampled_pairs(rows, codes, n_pairs, random_state):
    """Compare drawn pairs of one class and of two.

    Returns the similarities of either, and a note on how many there are to draw from.
    """
    sizes = np.bincount(codes)
    n_same = int((sizes * (sizes - 1) // 2).sum())
    n_other = len(codes) * (len(codes) - 1) // 2 - n_same
    if not n_same or not n_other:
        raise ValueError(
            f"There are {n_same} pairs of one class and {n_other} of two; both are "
            "needed. Give 2 or more classes, one with 2 or more samples."
        )
    first, second, is_same = sample_pairs(
        codes, n_pairs=n_pairs, random_state=random_state
    )
    similarities = np.concatenate(
        [
            np.einsum("ij,ij->i", rows[first[part]], rows[second[part]])
            for part in gen_batches(len(first), 2**14)
        ]
    )
    drawn = [
        f"{n_pairs:,} of {total:,} pairs {where}"
        for total, where in ((n_same, "within"), (n_other, "between"))
        if total > n_pairs
    ]
    note = "all pairs"
    if drawn:
        note = f"{' and '.join(drawn)} classes, drawn at random"
        note += ", all others" if len(drawn) == 1 else ""
    return similarities[is_same], similarities[~is_same], note


def anchor_pairs(rows, codes, *, negatives, n_anchors, n_pairs, random_state):
    """Compare anchors with the least similar of their class, and with other classes.

    Returns a pair of similarities in each place of two arrays, and a note on what was
    drawn.
    """
    sizes = np.bincount(codes)[codes]
    possible = np.flatnonzero((sizes > 1) & (sizes < len(codes)))
    if not len(possible):
        raise ValueError(
            "No sample has another of its class and one of another class, so there is "
            "nothing to compare; give 2 or more classes, one with 2 or more samples."
        )
    warn_left_out(len(codes) - len(possible), len(codes))
    anchors = possible[draw_sample(len(possible), n_anchors, random_state)]
    n_negatives = max(1, n_pairs // len(anchors))
    found_p, found_n = [], []
    available = get_config()["working_memory"] * 2**20
    for batch in gen_batches(len(anchors), max(1, int(available / (32 * len(rows))))):
        index = anchors[batch]
        similarities = rows[index] @ rows.T
        same = codes == codes[index, None]
        other = ~same
        same[np.arange(len(index)), index] = False
        least = np.where(same, similarities, np.inf).min(axis=1)
        if negatives == "hardest":
            found_p.append(least)
            found_n.append(np.where(other, similarities, -np.inf).max(axis=1))
            continue
        for own, is_other, row in zip(least, other, similarities, strict=True):
            others = row[is_other]
            n_drawn = min(n_negatives, len(others))
            drawn = sample_without_replacement(
                len(others), n_drawn, random_state=random_state
            )
            found_n.append(others[drawn])
            found_p.append(np.full(n_drawn, own))
    note = f"{len(anchors):,} anchors"
    if len(anchors) < len(possible):
        note = f"{len(anchors):,} of {len(possible):,} anchors, drawn at random"
    if negatives == "sampled":
        counts = sorted({len(values) for values in found_n})
        each = f"{counts[0]:,}" + (f" to {counts[-1]:,}" if len(counts) > 1 else "")
        note += f", with {each} of other classes each"
    return np.concatenate(found_p), np.concatenate(found_n), note
