"""Entries of ``net_params`` as parameters of the embedder, for grids to name them."""

from typing import Any

from sk_dml._training._params import is_net_key


class FlatNetParamsMixin:
    """``get_params`` and ``set_params`` that know what ``net_params`` holds."""

    net_params: Any

    def get_params(self, deep=True):
        """Get the parameters of this embedder.

        Parameters
        ----------
        deep : bool, default=True
            Whether to list the entries of ``net_params`` as parameters too.

        Returns
        -------
        dict
            Parameter names mapped to their values.
        """
        params = super().get_params(deep=False)  # type: ignore[misc]
        if deep and isinstance(self.net_params, dict):
            params = {**self.net_params, **params}
        return params

    def set_params(self, **params):
        """Set parameters of this embedder, or entries of its ``net_params``.

        Parameters
        ----------
        **params : dict
            Parameters, and names such as ``module__hidden`` or ``compile``.

        Returns
        -------
        self : object
            The embedder.

        Raises
        ------
        ValueError
            If there is no such parameter.
        """
        names = self._get_param_names()  # type: ignore[attr-defined]
        for_net = {k: params.pop(k) for k in list(params) if is_net_key(k, names)}
        super().set_params(**params)  # type: ignore[misc]
        if for_net:
            self.net_params = {**(self.net_params or {}), **for_net}
        return self
