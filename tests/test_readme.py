"""The README and the guide: their code runs, and prints the figures beside it."""

import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from sk_dml._inputs import _files
from sk_dml._networks import _pretrained
from sk_dml.datasets import load_glyphs

ROOT = Path(__file__).parents[1]
PAGES = [
    "quick_start",
    "faq",
    *(
        f"{folder}/{path.stem}"
        for folder in ("user_guide", "coming_from")
        for path in sorted((ROOT / "docs" / folder).glob("*.md"))
        if path.stem != "index"
    ),
]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
# A comment that begins with figures, or with a word and figures: "# pixels: 0.05".
CLAIM = re.compile(r"# (?:\w+: )?(\d\.\d+(?:, \d\.\d+)*)")
FIGURE = re.compile(r"\d+\.\d+(?:e-?\d+)?")


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """A reader's folder with photographs, without a screen and without a network."""
    images, classes = load_glyphs(
        n_classes=4, n_samples_per_class=6, random_state=0, return_X_y=True
    )
    for i, (image, label) in enumerate(zip(images, classes, strict=True)):
        color = np.array([255, 120 + 30 * label, 60 * label])
        folder = tmp_path / "photographs" / f"class {label}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = (image[..., None] / 255 * color).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.jpg")
    Image.fromarray(pixels).save(tmp_path / "new.jpg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))
    # Random weights stand in for pretrained ones, and small images for large ones.
    build = _pretrained._from_torchvision
    statistics = (0.5,) * 3, (0.5,) * 3
    monkeypatch.setattr(
        _pretrained,
        "_from_torchvision",
        lambda name, weights, *rest: (build(name, None, *rest)[0], statistics),
    )
    monkeypatch.setattr(_files, "SEEN_BY_NAMED", 32)
    yield tmp_path
    plt.close("all")


def run(block, names, capsys, bounds=0.05):
    """Run a block; compare the figures that it prints with those that it claims."""
    exec(compile(block, "block", "exec"), names)
    printed = capsys.readouterr().out
    claimed = [float(x) for text in CLAIM.findall(block) for x in text.split(", ")]
    if claimed:
        figures = [float(x) for x in FIGURE.findall(printed)]
        assert len(figures) == len(claimed)
        assert np.all(np.abs(np.subtract(figures, claimed)) <= bounds), figures
    return printed


def test_readme(reader, capsys):
    blocks = BLOCK.findall((ROOT / "README.md").read_text())
    # Rows as they are, and then what a training learned of them, which is noisier.
    bounds = [0, (0.01, 0.03), (0.01, 0.05)]
    printed = [
        run(block, {}, capsys, bound)
        for block, bound in zip(blocks, bounds, strict=True)
    ]
    assert printed[0].count("photographs/class") == 5
    # The figures of the other two were compared with what they print.
    assert [CLAIM.findall(block) for block in blocks[1:]] == [
        ["0.69", "0.97"],
        ["0.06, 0.90"],
    ]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_page(page, reader, capsys):
    names = {}
    for block in BLOCK.findall((ROOT / "docs" / f"{page}.md").read_text()):
        run(block, names, capsys)


def test_two_commands():
    text = (ROOT / "README.md").read_text()
    lines = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    assert [len(line.strip().splitlines()) for line in lines] == [1, 1]
    assert "python -m sk_dml" in lines[0]
    assert "python -m pytest" in lines[1]


def test_readme_is_short():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 110
    assert len(text.split()) <= 600
