"""Pages of HTML, in which all is text that is not said to be markup."""

from html import escape


class Html(str):
    """Markup that is to stay as it is."""

    __slots__ = ()


def element(name, *children, **attributes):
    """Make an element.

    Parameters
    ----------
    name : str
        Such as "p".
    *children : object
        Html, lists of children, or other things, which are shown as text.
    **attributes : object
        ``class_`` is class, ``aria_sort`` is aria-sort; those that are None are left
        out.

    Returns
    -------
    Html

    Examples
    --------
    >>> from sk_dml.reality_check._html import element
    >>> print(element("p", "1 < 2 ", element("b", "so"), class_="note"))
    <p class="note">1 &lt; 2 <b>so</b></p>
    """
    shown = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{shown}>{text(children)}</{name}>")


def text(content):
    """Make markup that shows something as it is.

    Parameters
    ----------
    content : object
        Html stays; of lists and tuples every item is taken; of others the string, in
        which control characters are replaced.

    Returns
    -------
    Html
    """
    if isinstance(content, Html):
        return content
    if isinstance(content, list | tuple):
        return Html("".join(map(text, content)))
    shown = (
        c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}"
        for c in str(content)
    )
    return Html(escape("".join(shown)))
