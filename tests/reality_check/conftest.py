import pytest

from sk_dml.reality_check import _search


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    """Try databases that cannot be opened again at once."""
    monkeypatch.setattr(_search, "PAUSE", 0.0)
