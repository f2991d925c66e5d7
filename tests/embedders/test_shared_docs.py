"""Embedders document what they share and what they inherit."""

import inspect
from dataclasses import KW_ONLY, dataclass

from sk_dml import CircleEmbedder, SoftTripleEmbedder


@dataclass(eq=False, repr=False)
class WarmCircleEmbedder(CircleEmbedder):
    """A variant of a method.

    Parameters
    ----------
    warmth : float, default=0.5
        What the variant adds.

    References
    ----------
    .. [2] A. Author. "Title". 2030.
    """

    _: KW_ONLY
    warmth: float = 0.5
    lr: float = 0.25


def section(cls, title, following):
    text = cls.__doc__.partition(f"\n{title}\n{'-' * len(title)}\n")[2]
    return text.partition(f"\n{following}\n-")[0]


def test_variants_have_the_documentation_of_their_method():
    parameters = section(WarmCircleEmbedder, "Parameters", "Attributes")
    for name in WarmCircleEmbedder().get_params():
        assert parameters.count(f"\n{name} : ") + parameters.startswith(name) == 1
    assert "lr : float, default=0.25" in parameters
    references = section(WarmCircleEmbedder, "References", "Examples")
    for label in ("[1] Y. Sun", "[2] A. Author", "[m] X. Wang"):
        assert references.count(f".. {label}") == 1
    assert ".. math::" in section(WarmCircleEmbedder, "Notes", "References")


def test_variants_have_the_attributes_of_their_method():
    class Variant(SoftTripleEmbedder):
        """A variant of a method."""

    assert "n_centers_ : ndarray" in section(Variant, "Attributes", "Notes")


def test_variants_without_a_docstring_have_that_of_their_method():
    class Variant(CircleEmbedder):
        pass

    assert inspect.getdoc(Variant) == inspect.getdoc(CircleEmbedder)
