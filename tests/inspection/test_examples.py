import runpy
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "plot_digits.py"


def test_digits(tmp_path, monkeypatch):
    folder = tmp_path / "pictures"
    options = ["--save", str(folder), "--max-epochs", "1"]
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), *options])
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    names = ["map", "recall_curve", "retrieval", "similarity", "training"]
    written = sorted(path.name for path in folder.iterdir())
    assert written == [f"digits_{name}.png" for name in names]
    assert [*tmp_path.iterdir()] == [folder]
