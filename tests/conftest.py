import pytest


@pytest.fixture
def figures():
    """Draw without a screen, and leave the backend and the figures as they were."""
    plt = pytest.importorskip("matplotlib.pyplot")
    backend = plt.get_backend()
    plt.switch_backend("agg")
    yield
    plt.close("all")
    plt.switch_backend(backend)
