import importlib.util
import os
import shutil

# The processes that share the tests share the cores too.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

# Files that take longest come first, so that no process waits for another at the end.
LONGEST = ("test_examples.py", "test_readme.py", "test_main.py", "test_common.py")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def pytest_collection_modifyitems(items):
    """Let the files that take longest begin."""
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


def missing(what):
    if os.environ.get("SK_DML_REQUIRE_BROWSER"):
        pytest.fail(f"{what} is missing")
    pytest.skip(f"needs {what}")


@pytest.fixture(scope="module")
def browser():
    """Start a browser; skip without one, unless SK_DML_REQUIRE_BROWSER is set."""
    if importlib.util.find_spec("playwright") is None:
        missing("playwright")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        missing(f"a browser, one of {', '.join(BROWSERS)}")
    from playwright.sync_api import sync_playwright

    options = ["--no-sandbox", "--disable-gpu"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, headless=True, args=options, timeout=120_000
        )
        yield browser
        browser.close()
