import io
import subprocess
import sys

import numpy as np
import pytest

from sk_dml import __main__ as command_line


@pytest.fixture(scope="module")
def demonstration():
    out = io.StringIO()
    figures = command_line.demonstrate(out=out)
    return figures, out.getvalue()


def test_demonstration_shows_what_it_claims(demonstration):
    figures, text = demonstration
    for name in ("wine", "digits"):
        assert figures[f"accuracy {name} circle"] > figures[f"accuracy {name} raw"]
    for method in ("CircleEmbedder", "SoftTripleEmbedder"):
        assert figures[f"MAP@R 12 {method}"] > 3 * figures["MAP@R 12 raw pixels"]
        assert f"{figures[f'MAP@R 12 {method}']:.3f}" in text
    assert text.count("<- best") == 1
    assert max(map(len, text.splitlines())) <= 100


def test_help():
    result = subprocess.run(
        [sys.executable, "-m", "sk_dml", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.startswith("usage: python -m sk_dml")
    assert "--random-state" in result.stdout


def test_place_keeps_every_pixel():
    images = np.random.default_rng(0).integers(1, 9, size=(50, 8, 8))
    placed = command_line.place(images, 12, np.random.default_rng(0))
    assert placed.shape == (50, 12, 12)
    np.testing.assert_array_equal(placed.sum(axis=(1, 2)), images.sum(axis=(1, 2)))
    corners = {tuple(np.argwhere(image > 0).min(axis=0)) for image in placed}
    assert len(corners) > 10


def test_unseen_digits_are_unseen():
    X, y, X_unseen, y_unseen, digit = command_line.unseen_digits(8, 0)
    assert set(digit) == {0, 1, 2, 3, 4}
    assert set(y_unseen) == {5, 6, 7, 8, 9}
    assert len(np.unique(y)) == 40
    assert len(X) == len(y) == len(digit)
    assert len(X_unseen) == len(y_unseen)
