"""Which points of a map have a colour and a shape in common."""

import numpy as np

from sk_dml.inspection import _style
from sk_dml.utils import as_labels

FEW = 10  # classes that a colour alone tells apart, as the frames of images need it
MANY = 100  # classes that a colour and a shape tell apart
MAX_LEGEND = 30  # classes
HIGHLIGHTS = tuple(color for color in _style.COLORS if color not in _style.GREYS)
UNCHOSEN = "#cccccc"  # points of classes that are not highlighted


def check_highlight(highlight, classes):
    """Find the codes of the classes to colour; None without a choice."""
    if highlight is None:
        return None
    if isinstance(highlight, (str, bytes)) or np.ndim(as_labels(highlight)) != 1:
        raise ValueError(f"highlight must be a list of labels, got {highlight!r}.")
    labels = list(as_labels(highlight).tolist())
    places = {label: i for i, label in enumerate(classes.tolist())}
    unknown = [label for label in labels if label not in places]
    n_different = len(set(labels))
    if unknown or n_different < len(labels) or not 1 <= len(labels) <= len(HIGHLIGHTS):
        raise ValueError(
            f"highlight must name 1 to {len(HIGHLIGHTS)} different classes of the map, "
            f"got {len(labels)}, of which different: {n_different}, unknown: "
            f"{unknown[:10]}."
        )
    return np.array([places[label] for label in labels])


def sample_points(codes, chosen, size, random_state):
    """Draw samples: one of every chosen class, more of the chosen, then of all."""
    if size is None or size >= len(codes):
        return np.arange(len(codes))
    order = random_state.permutation(len(codes))
    if chosen is not None:
        turn = np.where(np.isin(codes[order], chosen), 1, 2)
        firsts = np.unique(codes[order], return_index=True)[1]
        turn[firsts] -= turn[firsts] == 1
        order = order[np.argsort(turn, kind="stable")]
    return np.sort(order[:size])


def group_points(classes, codes, chosen, is_near_own, n_classes):
    """Say which points have a name, a colour and a shape in common.

    Points without a name are drawn in the background.
    """
    n_classes = len(classes) if n_classes is None else n_classes
    if chosen is not None:
        styles = zip(chosen, HIGHLIGHTS, _style.MARKERS, strict=False)
        groups = [(classes[i], codes == i, *style) for i, *style in styles]
        rest = (None, ~np.isin(codes, chosen), UNCHOSEN, "o")
        note = f"{len(chosen):,} of {n_classes:,} classes in colour"
        return [rest, *groups], "class", note
    if is_near_own is not None:
        own = np.asarray(is_near_own, dtype=bool)
        groups = [
            ("its own class", own, _style.SAME, "o"),
            ("another class", ~own, _style.OTHER, "^"),
        ]
        note = f"{n_classes:,} classes; the nearest neighbour, in all dimensions, "
        note += f"is of the same class for {own.mean():.0%} of the points"
        return groups, "nearest is of", note
    if len(classes) > MANY:
        every = np.ones(len(codes), dtype=bool)
        return [(None, every, _style.COLORS[0], "o")], "", f"{n_classes:,} classes"
    # Every ten classes the shapes move on by one against the colours.
    groups = [
        (
            name,
            codes == i,
            _style.COLORS[i % FEW],
            _style.MARKERS[(i + i // FEW) % FEW],
        )
        for i, name in enumerate(classes)
    ]
    is_long = len(classes) > MAX_LEGEND
    note = f"{n_classes:,} classes, each with a colour and shape of its own"
    return groups, "class", note if is_long else ""
