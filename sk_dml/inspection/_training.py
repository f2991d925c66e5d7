"""Curves of a training."""

from dataclasses import KW_ONLY, dataclass
from numbers import Real
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from sk_dml.inspection import _base

PARTS = ("train", "valid")  # prefixes of the keys of a history
LEFT_OUT = ("epoch", "duration")
DIAGNOSTICS = (
    *("active_share", "mean_similarity", "effective_rank"),
    *("gradient_norm", "skipped_steps"),
)


@_base.documented
@dataclass(eq=False, repr=False)
class TrainingDisplay:
    """Loss and all other numbers of a training's history by epoch.

    Use :meth:`from_estimator` to make one; all parameters are stored as attributes.

    Parameters
    ----------
    history : list of dict
        A row for every epoch, as an embedder's ``history_``: ``epoch``, and numbers
        such as ``train_loss``, ``valid_loss``, ``valid_score`` and ``lr``.
        The sum of ``duration``, in seconds, is written above the curves.
    name : str or None, default=None
        Name of the trained estimator, for the title.
    diagnostics : bool, default=False
        Whether to draw the diagnostics of the last batch of every epoch too:
        ``active_share``, ``mean_similarity``, ``effective_rank`` and
        ``gradient_norm``; and in half precision ``skipped_steps``.
    best_epoch : int or None, default=None
        An epoch to mark by a dotted line, as an embedder's ``best_epoch_``: that of the
        highest ``valid_score``, whose weights early stopping restores.

    Attributes
    ----------
    axes_ : ndarray of shape (n_panels,) of matplotlib Axes
        The panels from the top: the loss, and one for every other quantity.
    ax_, figure_ : matplotlib Axes and Figure
        The first panel, and the figure of all.
    lines_ : dict of str to matplotlib Line2D
        The curves, by their key in the history.
    best_lines_ : list of matplotlib Line2D
        The dotted lines, one in every panel; empty without ``best_epoch``.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sk_dml import CircleEmbedder
    >>> from sk_dml.inspection import TrainingDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> embedder = CircleEmbedder(max_epochs=3, random_state=0).fit(X, y)
    >>> display = TrainingDisplay.from_estimator(embedder)
    >>> sorted(display.lines_)
    ['lr', 'train_loss']
    """

    history: Any
    _: KW_ONLY
    name: Any = None
    diagnostics: Any = False
    best_epoch: Any = None

    def plot(self, ax=None, *, line_kwargs=None):
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, array-like of them or None, default=None
            Axes to draw on: one for every quantity of the history, in its order, the
            loss first. None makes a figure.
        line_kwargs : dict or None, default=None
            Other arguments of ``ax.plot``.

        {display}
        ValueError
            If the history is empty or lacks ``best_epoch``, or the number of axes is
            not that of the quantities.
        """
        panels = _panels(self.history, () if self.diagnostics else DIAGNOSTICS)
        if ax is not None:
            ax = _base.check_axes(ax, len(panels), f" for {list(panels)}")
        rows = {row.get("epoch", n): row for n, row in enumerate(self.history, start=1)}
        best = rows.get(self.best_epoch)
        if best is None and self.best_epoch is not None:
            raise ValueError(
                f"best_epoch must be an epoch of the history or None, got "
                f"{self.best_epoch!r}; the history ends with epoch {max(rows)}."
            )
        n = len(panels)
        sizes = {"figsize": (6, 1.4 + 1.8 * n), "height_ratios": [1.6] + [1] * (n - 1)}
        with _base.axes_for(
            self, ax, nrows=n, sharex=True, squeeze=False, **sizes
        ) as axes:
            self.axes_ = axes.ravel()
            self.ax_, self.figure_ = self.axes_[0], self.axes_[0].figure
            self.lines_ = {}
            for panel, (quantity, keys) in zip(self.axes_, panels.items(), strict=True):
                self._draw_panel(panel, quantity, keys, rows, line_kwargs)
            self.best_lines_ = [
                panel.axvline(self.best_epoch, color="0.5", linestyle=":", zorder=1)
                for panel in (self.axes_ if best is not None else ())
            ]
            self.axes_[-1].set_xlabel("epoch")
            seconds = sum(row.get("duration", 0) for row in self.history)
            note = f"{len(self.history):,} epochs"
            note += f", {seconds:.3g} s" if seconds else ""
            if best is not None:
                note += f"; best epoch (dotted): {self.best_epoch}"
            if best is not None and "valid_score" in best:
                note += f", valid score {best['valid_score']:.3f}"
            title = "Training" if self.name is None else f"Training of {self.name}"
            _base.describe(self.ax_, _base.plain(title, 60), note)
        return self

    def _draw_panel(self, panel, quantity, keys, rows, line_kwargs):
        from matplotlib.lines import Line2D
        from matplotlib.ticker import MaxNLocator

        names = [_base.plain(key.replace("_", " ")) for key in keys]
        for index, key in enumerate(keys):
            points = [(epoch, row[key]) for epoch, row in rows.items() if key in row]
            style = {
                "color": _base.COLORS[(0, 6, 4, 2)[index % 4]],
                "linestyle": _base.LINES[index % len(_base.LINES)],
                "marker": "o" if len(points) <= 30 else "",
                "markersize": 3,
            }
            style = _base.styled(style, line_kwargs, Line2D)
            (self.lines_[key],) = panel.plot(*zip(*points, strict=True), **style)
            self.lines_[key].set_label(names[index])
        label = names[0] if len(keys) == 1 else quantity.replace("_", " ")
        _base.write(panel.yaxis.label, _base.plain(label, 40))
        panel.grid(color="0.9")
        panel.set_axisbelow(True)
        panel.margins(y=0.08)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if len(keys) > 1:
            lines = [self.lines_[key] for key in keys]
            _base.add_legend(panel, lines, names, fontsize="small")

    @classmethod
    def from_estimator(cls, estimator, *, diagnostics=False, ax=None, line_kwargs=None):
        """Draw the history of a fitted embedder, with its best epoch if it has one.

        Parameters
        ----------
        estimator : object
            A fitted embedder, a Pipeline that holds one, or a search whose best
            estimator is one of these.
        diagnostics : bool, default=False
            Whether to draw the diagnostics of the last batch of every epoch too.
        ax : matplotlib Axes, array-like of them or None, default=None
            As for :meth:`plot`.
        line_kwargs : dict or None, default=None
            Other arguments of ``ax.plot``.

        {display}
        TypeError
            If there is no embedder with a ``history_``.
        """
        _base.check_matplotlib_support(f"{cls.__name__}.from_estimator")
        embedder = _find_trained(estimator)
        if embedder is None:
            raise TypeError(
                "estimator must be a fitted embedder, or a fitted Pipeline or search "
                f"that holds one, got {estimator!r}, which has no history_."
            )
        display = cls(
            embedder.history_,
            name=type(embedder).__name__,
            diagnostics=diagnostics,
            best_epoch=getattr(embedder, "best_epoch_", None),
        )
        return display.plot(ax, line_kwargs=line_kwargs)


def _find_trained(estimator):
    """Return the embedder with a history in an estimator, or None."""
    estimator = getattr(estimator, "best_estimator_", estimator)
    if isinstance(estimator, Pipeline):
        trained = (_find_trained(step) for _, step in reversed(estimator.steps))
        return next((step for step in trained if step is not None), None)
    return estimator if hasattr(estimator, "history_") else None


def _panels(history, left_out):
    """Return the keys of a history by quantity, the loss first."""
    keys = {
        key: None
        for row in history
        for key, value in row.items()
        if isinstance(value, Real) and np.asarray(value).dtype.kind in "iuf"
        if key not in (*LEFT_OUT, *left_out)
    }
    if not keys:
        raise ValueError(
            "history must hold a row for every epoch with numbers such as train_loss, "
            f"got {len(history)} rows without any."
        )
    panels: dict[str, list[str]] = {}
    for key in sorted(keys, key=lambda key: not key.endswith("loss")):
        part, _, quantity = key.partition("_")
        quantity = quantity if part in PARTS and quantity else key
        panels.setdefault(quantity, []).append(key)
    return panels
