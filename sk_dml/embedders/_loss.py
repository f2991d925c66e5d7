"""Base class of the losses."""

import functools
import inspect
from numbers import Integral
from typing import ClassVar

from sklearn.utils._param_validation import Interval, validate_parameter_constraints
from torch import nn

SIZE = Interval(Integral, 1, None, closed="left")


class Loss(nn.Module):
    """Base class of the losses.

    ``_parameter_constraints`` holds the allowed values of every parameter, in the form
    that scikit-learn's estimators use. A subclass adds those of its own parameters.
    They are checked when the loss is built.
    """

    _parameter_constraints: ClassVar[dict] = {}
    _built_with: dict = {}

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        cls._parameter_constraints = {
            name: allowed
            for base in reversed(cls.__mro__)
            for name, allowed in vars(base).get("_parameter_constraints", {}).items()
        }
        if "__init__" in vars(cls):
            cls.__init__ = _checking(cls, cls.__init__)  # type: ignore[method-assign]

    def extra_repr(self):
        """Return the parameters as text.

        Returns
        -------
        str
        """
        # The current values; a buffer or parameter has the value it was built with.
        current = {k: vars(self).get(k, v) for k, v in self._built_with.items()}
        return ", ".join(f"{name}={value!r}" for name, value in current.items())


def _checking(cls, init):
    """Let a constructor check its parameters first, and remember them for the repr."""
    signature = inspect.signature(init)

    @functools.wraps(init)
    def checked_init(self, *args, **kwargs):
        try:
            bound = signature.bind(self, *args, **kwargs)
        except TypeError:
            init(self, *args, **kwargs)  # its message names the class
            raise
        bound.apply_defaults()
        params = dict(list(bound.arguments.items())[1:])  # without self
        validate_parameter_constraints(cls._parameter_constraints, params, cls.__name__)
        init(self, *args, **kwargs)
        self._built_with = params

    return checked_init
