import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run an example as a command in an empty folder, and list what it leaves there."""

    def run(name, *arguments):
        script = str(EXAMPLES / name)
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        monkeypatch.chdir(tmp_path)
        runpy.run_path(script, run_name="__main__")
        return sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*"))

    return run


def test_digits(run):
    names = ["map", "recall_curve", "retrieval", "similarity", "training"]
    left = run("plot_digits.py", "--save", "pictures", "--max-epochs", 1)
    assert left == [f"pictures/digits_{name}.png" for name in names]


def test_unseen_characters(run, capsys):
    few = ["--n-classes", 12, "--max-epochs", 2]
    assert run("unseen_characters.py", "--save", "found.png", *few) == ["found.png"]
    assert "learned: {'precision_at_1': " in capsys.readouterr().out


def test_photographs(run, tmp_path_factory, capsys):
    folder = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    for label in range(6):
        (folder / f"class {label}").mkdir()
        for i in range(8):
            noise = rng.integers(0, 256, size=(40, 48, 3)).astype(np.uint8)
            Image.fromarray(noise).save(folder / f"class {label}" / f"{i}.jpg")
    quick = ["--module", "conv", "--max-epochs", 1]
    assert run("photographs.py", folder, "--save", "found.png", *quick) == ["found.png"]
    assert "map_at_r" in capsys.readouterr().out
