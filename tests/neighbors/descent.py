"""A stand-in for pynndescent's NNDescent, which compiles for half a minute."""

import sys
import types

import numpy as np


class Descent:
    """Finds the true neighbors, but for every seventh query that it gets stuck at."""

    n_built = 0
    seeds: list = []

    def __init__(self, data, *, metric, n_neighbors, random_state):
        assert metric == "euclidean"
        assert data.dtype == np.float32
        assert data.flags.c_contiguous
        assert np.isfinite(data).all()
        assert len(data) > n_neighbors
        type(self).n_built += 1
        type(self).seeds.append(random_state)
        self.data = data

    def prepare(self):
        pass

    def query(self, queries, k):
        assert np.isfinite(queries).all()
        squares = [np.square(self.data - query).sum(axis=1) for query in queries]
        found = np.argsort(squares, axis=1)[:, :k].astype(np.int32)
        found[::7, 1:] = -1
        found[3::7] = found[3::7, :1]
        return found, np.take_along_axis(np.array(squares), found, axis=1)


class LossyDescent(Descent):
    """Misses the nearest of some queries."""

    def query(self, queries, k):
        found, squares = super().query(queries, k + 1)
        found[1::7, 1:] = np.roll(found[1::7, 1:], -1, axis=1)
        return found[:, :k], squares[:, :k]


def install(monkeypatch, kind=Descent):
    module = types.ModuleType("pynndescent")
    module.NNDescent = kind
    monkeypatch.setitem(sys.modules, "pynndescent", module)
    kind.n_built = 0
    kind.seeds = []
