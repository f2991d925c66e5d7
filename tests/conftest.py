import os

# The processes that share the tests share the cores too.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

# Files that take longest come first, so that no process waits for another at the end.
LONGEST = ("test_readme.py", "test_main.py", "test_common.py")


def pytest_collection_modifyitems(items):
    """Let one process run the tests of a file, whose fixtures are made once then."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.path.name))
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture
def figures():
    """Draw without a screen, and leave the backend and the figures as they were."""
    plt = pytest.importorskip("matplotlib.pyplot")
    backend = plt.get_backend()
    plt.switch_backend("agg")
    yield
    plt.close("all")
    plt.switch_backend(backend)
