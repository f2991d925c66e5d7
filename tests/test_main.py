import io
import runpy
import sys

import numpy as np
import pytest

from sk_dml import _demo


def check_text(figures, text):
    assert text.count("<- best") == 1
    for method in ("CircleEmbedder", "SoftTripleEmbedder"):
        assert f"{figures[f'MAP@R 12 {method}']:.3f}" in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.filterwarnings("ignore:The embedding:UserWarning")  # of one epoch
def test_small_demonstration():
    out = io.StringIO()
    figures = _demo.demonstrate(out=out, share=0.05)
    assert len(figures) == 2 * 2 + 2 * 2 * 3 + 1
    assert all(0 < figure <= 1 for figure in figures.values())
    assert figures["accuracy wine circle"] > figures["accuracy wine raw"]
    check_text(figures, out.getvalue())


@pytest.mark.slow
def test_demonstration_shows_what_it_claims():
    out = io.StringIO()
    figures = _demo.demonstrate(out=out)
    for name in ("wine", "digits"):
        assert figures[f"accuracy {name} circle"] > figures[f"accuracy {name} raw"]
    for method in ("CircleEmbedder", "SoftTripleEmbedder"):
        assert figures[f"MAP@R 12 {method}"] > 3 * figures["MAP@R 12 raw pixels"]
    check_text(figures, out.getvalue())


def test_help(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["sk_dml", "--help"])
    monkeypatch.delitem(sys.modules, "sk_dml.__main__", raising=False)
    with pytest.raises(SystemExit) as stop:
        runpy.run_module("sk_dml", run_name="__main__")
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith("usage: python -m sk_dml")
    assert "--random-state" in shown


def test_place_keeps_every_pixel():
    images = np.random.default_rng(0).integers(1, 9, size=(50, 8, 8))
    placed = _demo.place(images, 12, np.random.default_rng(0))
    assert placed.shape == (50, 12, 12)
    np.testing.assert_array_equal(placed.sum(axis=(1, 2)), images.sum(axis=(1, 2)))
    corners = {tuple(np.argwhere(image > 0).min(axis=0)) for image in placed}
    assert len(corners) > 10


def test_unseen_digits_are_unseen():
    X, y, X_unseen, y_unseen, digit = _demo.unseen_digits(8, 0)
    assert set(digit) == {0, 1, 2, 3, 4}
    assert set(y_unseen) == {5, 6, 7, 8, 9}
    assert len(np.unique(y)) == 40
    assert len(X) == len(y) == len(digit)
    assert len(X_unseen) == len(y_unseen)
