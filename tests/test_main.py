import io
import runpy
import sys
import webbrowser

import matplotlib
import numpy as np
import pytest
import torch

from sk_dml import _demo
from sk_dml.__main__ import main


@pytest.fixture
def quick(monkeypatch):
    """Make the demonstration small."""
    embedder = _demo.CircleEmbedder
    monkeypatch.setattr(
        _demo,
        "CircleEmbedder",
        lambda **params: embedder(**{**params, "max_epochs": 1}),
    )
    small = {"N_IMAGES": 6, "IMAGE_SIZE": 8, "SEARCH_STEP": 4, "N_MAPPED": 50}
    for name, value in small.items():
        monkeypatch.setattr(_demo, name, value)
    load = _demo.load_characters

    def few(random_state):
        train, unseen = load(random_state)
        return (train[0][:600], train[1][:600]), unseen

    monkeypatch.setattr(_demo, "load_characters", few)


def numbers(figures):
    """Return all numbers in nested dicts and tuples."""
    if isinstance(figures, dict):
        figures = figures.values()
    elif not isinstance(figures, tuple):
        return [] if isinstance(figures, str) else [figures]
    return [number for part in figures for number in numbers(part)]


def run(folder):
    """Return figures, summary and page of a demonstration."""
    out, path = io.StringIO(), folder / "page.html"
    figures = _demo.demonstrate(page=path, out=out)
    lines = out.getvalue().splitlines()
    assert lines[-1].endswith(str(path.resolve()))
    assert len(lines) <= 25
    assert max(map(len, lines[:-1])) <= 80
    return figures, "\n".join(lines), path.read_text(encoding="utf-8")


@pytest.mark.usefixtures("figures")  # with a backend that is known
@pytest.mark.filterwarnings("ignore:The embedding:UserWarning")  # of one epoch
def test_small_demonstration(tmp_path, quick):
    settings = matplotlib.rcParams.copy()
    n_threads = torch.get_num_threads()
    figures, summary, page = run(tmp_path)
    assert torch.get_num_threads() == n_threads
    assert matplotlib.rcParams == settings
    for part in "1234":
        assert f"{part}. " in summary
        assert f"<h2>{part}. " in page
    assert len(numbers(figures)) == 2 * 2 + 2 * 3 * 2 + 2 * len(_demo.MARGINS) + 2 * 2
    for number in numbers(figures):
        assert 0 <= number <= 1
        assert f"{number:.3f}" in page
    for scores in (figures["characters"], figures["digits"]):
        for values in scores.values():
            assert "".join(f"{value:15.3f}" for value in values) in summary
    assert f"chose: {figures['chosen']}" in summary
    assert f"chose {figures['chosen']} here" in page


@pytest.mark.filterwarnings("ignore:The embedding:UserWarning")
def test_without_matplotlib(tmp_path, quick, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    figures = _demo.demonstrate(page=tmp_path / "page.html")
    shown = capsys.readouterr().out
    assert "python -m pip install matplotlib" in shown
    assert list(figures) == ["tables", "digits", "chosen"]
    assert not list(tmp_path.iterdir())
    assert shown.rstrip().endswith(f"chose: {figures['chosen']}")


@pytest.fixture
def calls(monkeypatch):
    """Record calls of the demonstration instead of running it."""
    made = []

    def demonstrate(random_state, *, page):
        made.append((random_state, page))
        return {"characters": {}}

    monkeypatch.setattr(_demo, "demonstrate", demonstrate)
    return made


def test_options(calls, monkeypatch, tmp_path):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.chdir(tmp_path)
    main(["--no-page", "--random-state", "3"])
    main(["--open"])
    main(["--page", "other.html"])
    default = tmp_path / "sk_dml_demonstration.html"
    assert [(seed, page and page.resolve()) for seed, page in calls] == [
        (3, None),
        (0, default),
        (0, tmp_path / "other.html"),
    ]
    assert opened == [default.as_uri()]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["missing/page.html", "."])
def test_page_that_cannot_be_written(name, calls, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--page", str(tmp_path / name)])
    assert stop.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"cannot write the page {tmp_path / name}: " in last
    assert not calls


def test_page_that_is_there_is_kept_until_the_end(calls, tmp_path):
    page = tmp_path / "page.html"
    page.write_text("earlier")
    main(["--page", str(page)])
    assert page.read_text() == "earlier"


@pytest.mark.parametrize("options", [["--opne"], ["--open", "--no-page"]])
def test_wrong_options(options, calls, capsys):
    with pytest.raises(SystemExit) as stop:
        main(options)
    assert stop.value.code == 2
    assert options[0] in capsys.readouterr().err
    assert not calls


def test_help(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["sk_dml", "--help"])
    monkeypatch.delitem(sys.modules, "sk_dml.__main__", raising=False)
    with pytest.raises(SystemExit) as stop:
        runpy.run_module("sk_dml", run_name="__main__")
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith("usage: python -m sk_dml")
    for option in ("--random-state", "--page", "--no-page", "--open"):
        assert option in shown


def test_characters_are_unseen(quick):
    train, unseen = _demo.load_characters(0)
    assert not set(train[1]) & set(unseen[1])
    for images, labels in (train, unseen):
        assert len(images) == len(labels)
        assert (np.unique(labels, return_counts=True)[1] == _demo.N_IMAGES).all()


@pytest.mark.slow
def test_demonstration_shows_what_it_claims(tmp_path, browser):
    figures, _, _ = run(tmp_path)
    raw, learned = figures["characters"].values()
    assert learned[1] > 2 * raw[1]
    assert learned[0] > raw[0]
    for accuracies in figures["tables"].values():
        *others, learned = (mean for mean, _ in accuracies.values())
        assert learned > max(others) - 0.02
    raw, learned = figures["digits"].values()
    assert raw[1] > learned[1]
    assert figures["chosen"] == "raw pixels"

    page = browser.new_page()
    requests, complaints = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    address = (tmp_path / "page.html").as_uri()
    page.goto(address)
    page.wait_for_load_state("networkidle")
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 700})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    sizes = page.evaluate("[...document.images].map(image => image.naturalWidth)")
    assert len(sizes) == 3
    assert min(sizes) > 300  # they were drawn
    assert page.locator("script").count() == 0
    assert [url for url in requests if not url.startswith("data:")] == [address]
    assert complaints == []
    page.close()
