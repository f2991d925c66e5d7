"""Tables of a report, and what stands in them."""

import numpy as np

from sk_dml.reality_check._html import element

NONE, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"


def number(value, digits=3):
    """Write a number, or a dash for None and NaN."""
    if value is None or np.isnan(value):
        return NONE
    return f"{value:.{digits}f}".replace("-", MINUS)


def interval(row, metric):
    """Write the interval of a metric in a row of the results, if there is a value."""
    low, high = row[f"{metric}_low"], row[f"{metric}_high"]
    if np.isnan(row[metric]):
        return None
    if np.isnan(low):
        return "one repeat"
    return "constant" if low == high else f"{low:.3f} to {high:.3f}"


def listed(names):
    """Write names one after the other, or that there is none."""
    return ", ".join(names) or "none"


def setting(params):
    """Write parameters and their values."""
    values = {n: f"{v:.4g}" if isinstance(v, float) else v for n, v in params.items()}
    return ", ".join(f"{name} = {value}" for name, value in values.items())


def head(name, note=None):
    """Make the cell that names a row, with a note below."""
    note = [] if note is None else element("small", note)
    return element("th", name, note, scope="row", data_value=name)


def p_value(value, digits=4):
    """Make a cell of a p-value, which is never 0."""
    least = 10**-digits
    return cell(value, digits=digits, text=f"< {least:g}" if value < least else None)


def cell(value, note=None, digits=3, text=None):
    """Make a cell of a number that sorts by all its digits, with others below."""
    is_known = value is not None and not np.isnan(value)
    return element(
        "td",
        number(value, digits) if text is None else text,
        [] if note is None else element("small", note.replace("-", MINUS)),
        class_="number",
        data_value=repr(float(value)) if is_known else "",
    )


def table(columns, rows, *, by=None):
    """Make a sortable table.

    Parameters
    ----------
    columns : dict of str to bool
        Whether a column holds numbers.
    rows : list of (list of Html)
        Their cells.
    by : str or None, default=None
        The column by which they are sorted already, the highest first.

    Returns
    -------
    Html
    """
    headers = [
        element(
            "th",
            element("button", name, type="button"),
            scope="col",
            data_kind="number" if is_number else "text",
            aria_sort="descending" if name == by else None,
        )
        for name, is_number in columns.items()
    ]
    return element(
        "table",
        element("thead", element("tr", headers)),
        element("tbody", [element("tr", list(cells)) for cells in rows]),
        class_="sortable",
    )


def pairs(values):
    """Make a table of names and values."""
    rows = []
    for name, value in values.items():
        if isinstance(value, list | tuple):
            value = listed(map(str, value))
        shown = "none" if value is None else value
        named = element("th", name, scope="row")
        rows.append(element("tr", named, element("td", element("code", shown))))
    return element("table", element("tbody", rows), class_="settings")


def wide(content, label):
    """Let what is wider than the screen be scrolled, by keyboard too."""
    return element(
        "div", content, class_="wide", role="region", tabindex=0, aria_label=label
    )
