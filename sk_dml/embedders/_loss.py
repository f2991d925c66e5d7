"""What all losses share: their parameters are checked, and shown."""

import functools
import inspect
import sys
from numbers import Integral

from sklearn.utils._param_validation import Interval, validate_parameter_constraints
from torch import nn

SIZE = Interval(Integral, 1, None, closed="left")


class Loss(nn.Module):
    """Base class of the losses.

    A parameter of a loss may have the values that it may have in the embedder of the
    same module, whose ``_parameter_constraints`` say them.
    """

    _given: dict = {}

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls):
            cls.__init__ = _checked(cls, cls.__init__)  # type: ignore[method-assign]

    def extra_repr(self):
        """Show the parameters.

        Returns
        -------
        str
        """
        current = self._given | {
            k: v for k, v in vars(self).items() if k in self._given
        }
        return ", ".join(f"{name}={value!r}" for name, value in current.items())


def _checked(cls, init):
    signature = inspect.signature(init)
    name = cls.__name__.removesuffix("Loss") + "Embedder"

    @functools.wraps(init)
    def checked_init(self, *args, **kwargs):
        try:
            given = signature.bind(self, *args, **kwargs)
        except TypeError:
            init(self, *args, **kwargs)  # says it better
            raise
        given.apply_defaults()
        (_, *arguments) = given.arguments.items()
        params = dict(arguments)
        embedder = getattr(sys.modules.get(cls.__module__), name, None)
        constraints = dict(getattr(embedder, "_parameter_constraints", {}))
        for size in {"n_classes", "n_features"} & params.keys():
            optional = signature.parameters[size].default is None
            constraints[size] = [SIZE, None] if optional else [SIZE]
        validate_parameter_constraints(constraints, params, cls.__name__)
        init(self, *args, **kwargs)
        self._given = params

    return checked_init
