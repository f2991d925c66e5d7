"""What methods are called."""

from sk_dml.embedders import all_embedders
from sk_dml.reality_check._fold import last_step


def name_estimators(estimators):
    """Name the methods that take part.

    Parameters
    ----------
    estimators : dict, list or None
        As for :class:`RealityCheck`.

    Returns
    -------
    dict of str to estimator

    Raises
    ------
    ValueError
        If there is none, a name is unknown, or two have one name.
    """
    embedders = {short_name(name): cls for name, cls in all_embedders()}
    if estimators is None:
        return {name: cls() for name, cls in embedders.items()}
    if not estimators:
        raise ValueError("estimators must hold one method or more, got none.")
    if isinstance(estimators, dict):
        return dict(estimators)
    by_plain_name = {plain(name): name for name in embedders}
    named: dict = {}
    for estimator in estimators:
        if isinstance(estimator, str):
            name = by_plain_name.get(plain(short_name(estimator)))
            if name is None:
                raise ValueError(
                    f"estimators names {estimator!r}, which is no embedder. Allowed "
                    f"are: {list(embedders)}."
                )
            estimator = embedders[name]()
        else:
            name = short_name(type(last_step(estimator)[1]).__name__)
        if name in named:
            raise ValueError(
                f"estimators has two methods named {name!r}; give a dict of names."
            )
        named[name] = estimator
    return named


def short_name(name):
    """Name a method as tables do.

    Parameters
    ----------
    name : str
        Of a class, such as "CircleEmbedder".

    Returns
    -------
    str
        Such as "Circle".
    """
    return name[: -len("Embedder")] if name.lower().endswith("embedder") else name


def plain(name):
    """Spell a name without capitals, spaces and signs, to compare it.

    Parameters
    ----------
    name : str

    Returns
    -------
    str
    """
    return "".join(letter for letter in name.lower() if letter.isalnum())
