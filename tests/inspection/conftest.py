import numpy as np
import pytest

pytest.importorskip("matplotlib")


@pytest.fixture(autouse=True)
def _drawing(figures):
    """Draw without a screen in all of these tests."""


@pytest.fixture
def blobs():
    """Return embeddings (42, 5) of 6 overlapping classes, and their labels."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.array(["ant", "bee", "cat", "dog", "eel", "fox"]), 7)
    codes = np.repeat(np.arange(6), 7)
    X = 1.5 * rng.normal(size=(6, 5))[codes] + rng.normal(size=(42, 5))
    return X, labels
