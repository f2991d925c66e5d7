"""From distributions of scipy.stats and lists to what Optuna draws from."""

import re
from dataclasses import dataclass
from typing import Any

from sk_dml.embedders._base import BaseEmbedder
from sk_dml.reality_check._fold import last_step, seeded

# Quantiles that close to 0 and 1, where many distributions are infinite, are not drawn.
TAIL = 2.0**-20


@dataclass
class Dimension:
    """A parameter, as Optuna searches it.

    Attributes
    ----------
    distribution : optuna.distributions.BaseDistribution
        What is drawn.
    decode : callable
        Makes of it the value of the parameter.
    """

    distribution: Any
    decode: Any


def translate(name, space):
    """Translate the space of a parameter for Optuna.

    Parameters
    ----------
    name : str
        What to call it in an error.
    space : scipy.stats distribution or list
        Uniform, log-uniform and integer ones are drawn from as such; others by their
        quantiles, uniformly.

    Returns
    -------
    Dimension

    Raises
    ------
    TypeError
        If it is neither.
    ValueError
        If a list is empty.
    """
    from optuna import distributions

    if isinstance(space, list | tuple):
        return _translate_list(name, list(space))
    if not hasattr(space, "dist") or not hasattr(space, "ppf"):
        raise TypeError(
            f"search space of {name!r} must be a list or a frozen distribution of "
            f"scipy.stats such as uniform(0, 1), got {space!r}."
        )
    kind = space.dist.name
    low, high = space.support()
    if kind == "uniform":
        return Dimension(distributions.FloatDistribution(low, high), float)
    if kind in ("loguniform", "reciprocal") and not _is_moved(space):
        return Dimension(distributions.FloatDistribution(low, high, log=True), float)
    if kind == "randint":
        return Dimension(distributions.IntDistribution(int(low), int(high)), int)
    quantile = distributions.FloatDistribution(TAIL, 1 - TAIL)
    number = float if hasattr(space, "pdf") else int
    return Dimension(quantile, lambda share: number(space.ppf(share)))


def is_plain(value):
    """Tell whether Optuna can store a value as it is."""
    return value is None or isinstance(value, bool | int | float | str)


def _is_moved(space):
    _, loc, _ = space.dist._parse_args(*space.args, **space.kwds)
    return loc != 0


def _translate_list(name, values):
    from optuna import distributions

    if not values:
        raise ValueError(f"search space of {name!r} is an empty list.")
    if all(map(is_plain, values)):
        return Dimension(distributions.CategoricalDistribution(values), lambda v: v)
    # Others are not stored: their places in the list are.
    labels = [f"{i}: {shown:.200}" for i, shown in enumerate(map(_show, values))]
    by_label = dict(zip(labels, values, strict=True))
    return Dimension(distributions.CategoricalDistribution(labels), by_label.get)


def translate_space(method, estimator, space):
    """Translate the search space of a method, and check it.

    Parameters
    ----------
    method : str
        What to call it in an error.
    estimator : estimator
        Has the parameters.
    space : dict of str to scipy.stats distribution or list

    Returns
    -------
    dict of str to Dimension

    Raises
    ------
    ValueError
        If the estimator has no such parameter, or a list is empty.
    TypeError
        If the space is none.
    """
    if not isinstance(space, dict):
        raise TypeError(
            f"search_spaces[{method!r}] must be a dict of parameters, got {space!r}."
        )
    dimensions = {}
    for name, values in space.items():
        dimensions[name] = translate(f"{name} of {method}", values)
        value = values[0] if isinstance(values, list | tuple) else values.ppf(0.5)
        try:
            seeded(estimator, 0, **{name: value})
        except (ValueError, AttributeError) as error:
            allowed = sorted(estimator.get_params(deep=True))
            raise ValueError(
                f"search_spaces[{method!r}] names {name!r}, which is no parameter of "
                f"{estimator!r}. Allowed are: {allowed}."
            ) from error
    return dimensions


def default_space(estimator):
    """Give the search space of an embedder, or of the one that a Pipeline ends in.

    Parameters
    ----------
    estimator : estimator

    Returns
    -------
    dict
        Empty for others.
    """
    prefix, last = last_step(estimator)
    if not isinstance(last, BaseEmbedder):
        return {}
    return {f"{prefix}{name}": space for name, space in last.search_space().items()}


def describe_space(space):
    """Describe a search space in words.

    Parameters
    ----------
    space : dict of str to scipy.stats distribution or list

    Returns
    -------
    dict of str to str
        Such as ``{"margin": "uniform in [0, 0.5]"}``.
    """
    return {name: _describe(values) for name, values in space.items()}


def _show(value):
    """Write a value without addresses, the same in every process."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def _describe(values):
    if isinstance(values, list | tuple):
        return f"[{', '.join(map(_show, values))}]"
    if values.dist.name in ("uniform", "loguniform", "reciprocal", "randint"):
        low, high = values.support()
        return f"{values.dist.name} in [{low:g}, {high:g}]"
    kwds = [f"{key}={value!r}" for key, value in values.kwds.items()]
    return f"{values.dist.name}({', '.join([*map(repr, values.args), *kwds])})"
