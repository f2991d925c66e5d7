import csv
import json
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sk_dml import SoftTripleEmbedder

EXAMPLES = Path(__file__).parents[1] / "examples"


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


# What an example says of its results, with its variables.
CLAIMS = {
    "add_to_index": lambda v: min(v["shares"]) > 0.4,
    "fine_tuning": lambda v: max(v["scores"], key=v["scores"].get) == "fine-tuned",
    "grid_search": lambda v: v["search"].best_score_ > 0.5,
    "pretrained_features": lambda v: (
        sorted(v["scores"].values()) == list(v["scores"].values())
    ),
    "similar_images": lambda v: v["found"].shape == (40, 5),
    "training": lambda v: (
        v["embedder"].history_[-1]["valid_score"]
        > v["embedder"].history_[0]["valid_score"]
    ),
    "unseen_classes": lambda v: v["scores"]["map_at_r"] > 0.15,
    "verification": lambda v: v["accepted"][~v["is_same"]].mean() < 0.03,
    "which_loss": lambda v: (
        min(v["scores"], key=lambda name: v["scores"][name].mean())
        == "rows as they are"
    ),
    "why_map_at_r": lambda v: v["scores"]["apart"]["map_at_r"] > 0.98,
}


def test_every_example_of_the_gallery_is_run():
    assert {f"plot_{name}.py" for name in CLAIMS} == {
        path.name for path in EXAMPLES.glob("plot_*.py")
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", CLAIMS)
def test_gallery(name, figures):
    variables = runpy.run_path(str(EXAMPLES / f"plot_{name}.py"), run_name="__main__")
    assert CLAIMS[name](variables)


def test_only_map_at_r_tells_embeddings_apart(figures):
    example = runpy.run_path(str(EXAMPLES / "plot_why_map_at_r.py"))
    rated = list(example["scores"].values())
    for name in ("precision_at_1", "nmi", "pairwise_f1"):
        assert np.ptp([scores[name] for scores in rated]) < 0.02
    assert all(scores["precision_at_1"] > 0.98 for scores in rated)
    assert all(0.6 < scores["nmi"] < 0.7 for scores in rated)
    worst, middle, best = (scores["map_at_r"] for scores in rated)
    assert worst + 0.25 < middle < best - 0.25
    assert best > 0.98


@pytest.mark.filterwarnings("ignore:The embedding:UserWarning")  # of one epoch
def test_compare_methods(run, tmp_path_factory, capsys):
    path = tmp_path_factory.mktemp("data") / "rows.npz"
    y = np.repeat(np.arange(8), 9)
    rng = np.random.default_rng(0)
    np.savez(path, X=rng.normal(size=(8, 5))[y] + rng.normal(size=(72, 5)), y=y)
    few = "--trials 1 --folds 2 --repeats 2 --max-epochs 1 --max-samples 6 --widths 8,8"
    methods = ["--methods", "triplet,softmax"]
    left = run("compare_methods.py", path, *methods, *few.split())
    files = "plot.png repeats.csv report.html results.csv settings.json trials.csv "
    files = f"{files} trials.db trials.db.lock trials.png".split()
    assert left == [f"comparison/{name}" for name in files]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + 2 + 6  # methods and baselines
    scores = [float(line.split(" | ")[1]) for line in lines[2:]]
    assert scores == sorted(scores, reverse=True)
    settings = json.loads(Path("comparison/settings.json").read_text())["settings"]
    assert settings["n_development_samples"] == settings["n_test_samples"] == 4 * 6
    assert "'module__hidden': (8, 8)" in settings["estimators"]["Triplet"]


def make_photographs(folder, names):
    rng = np.random.default_rng(0)
    for name in names:
        (folder / name).mkdir(parents=True)
        for i in range(8):
            noise = rng.integers(0, 256, size=(40, 48, 3)).astype(np.uint8)
            Image.fromarray(noise).save(folder / name / f"{i}.jpg")


@pytest.fixture(scope="module")
def birds(tmp_path_factory):
    """A folder with the layout of CUB-200-2011."""
    root = tmp_path_factory.mktemp("data") / "CUB_200_2011"
    names = [f"{i + 1:03}.Bird_{i}" for i in range(8)]
    make_photographs(root / "images", names)
    (root / "classes.txt").write_text("".join(f"{n[:3]} {n}\n" for n in names))
    (root / "attributes").mkdir()
    return root


QUICK = {
    "torchvision/googlenet": "conv",
    "batch_size = 32": "batch_size = 8",
    **{f"image_size = {size}": "image_size = 24" for size in (224, 227)},
    **{f"max_epochs = {epochs}": "max_epochs = 1" for epochs in (300, 50)},
    "n_trials = 50": "n_trials = 2",
    "n_folds = 4": "n_folds = 2",
    "n_repeats = 10": "n_repeats = 2",
}


@pytest.fixture
def quick(tmp_path_factory):
    """Copy a file of settings, with a budget of seconds."""

    def copy(name, **replaced):
        text = (EXAMPLES / name).read_text()
        for old, new in {**QUICK, **replaced}.items():
            text = text.replace(old, new)
        path = tmp_path_factory.mktemp("settings") / name
        path.write_text(text)
        return path

    return copy


def test_reproduction(run, quick, birds, capsys):
    settings = quick("soft_triple_cub200.toml")
    left = run("reproduce.py", settings, birds)
    files = ("checkpoint.lock", "checkpoint.safetensors")
    assert left == [f"soft_triple_cub200/{file}" for file in files]
    scores = dict(line.split() for line in capsys.readouterr().out.splitlines())
    assert set(scores) >= {"recall_at_1", "recall_at_8", "map_at_r", "nmi"}
    assert 0 < float(scores["map_at_r"]) < float(scores["recall_at_8"]) <= 1
    shutil.copytree("soft_triple_cub200", "again")
    run("reproduce.py", settings, birds, "--out", "again")  # nothing is left to do
    assert dict(line.split() for line in capsys.readouterr().out.splitlines()) == scores


@pytest.mark.filterwarnings("ignore:The embedding:UserWarning")  # of one epoch
def test_reality_check_of_the_reproduction(run, quick, birds, capsys):
    name = "soft_triple_cub200_reality_check"
    left = run("reproduce.py", quick(f"{name}.toml"), birds)
    files = "results.csv settings.json trials.csv trials.db trials.db.lock"
    assert left == [f"{name}/{file}" for file in files.split()]
    with open(f"{name}/results.csv") as file:
        rows = list(csv.DictReader(file))
    assert {row["method"] for row in rows} == {"SoftTriple", "untrained network"}
    assert all(row["n"] == "2" and float(row["map_at_r"]) > 0 for row in rows)


def test_settings_of_the_reproduction():
    read = runpy.run_path(str(EXAMPLES / "reproduce.py"))["read"]
    embedder, check = read(EXAMPLES / "soft_triple_cub200.toml")
    assert check is None
    expected = {
        "n_components": 64,
        "n_centers": 5,
        "optimizer": "adam",
        "batch_size": 32,
        "max_epochs": 50,
        "lr_schedule": "step",
        "lr_schedule__step_size": 20,
        "lr_schedule__gamma": 0.1,
        "lr": 1e-4,
        "backbone_lr": 1e-4,
        "proxy_lr": 1e-2,
        "scale": 30,
        "gamma": 0.1,
        "tau": 0.2,
        "margin": 0.01,
    }
    assert expected.items() <= embedder.get_params().items()
    twin, check = read(EXAMPLES / "soft_triple_cub200_reality_check.toml")
    assert type(twin) is type(embedder) is SoftTripleEmbedder
    assert (check.n_trials, check.n_folds, check.n_repeats) == (50, 4, 10)
    # What the search is to find is not set.
    default = SoftTripleEmbedder()
    for name in SoftTripleEmbedder.search_space():
        assert getattr(twin, name) == getattr(default, name)


def test_network_of_the_reproduction(birds):
    example = runpy.run_path(str(EXAMPLES / "reproduce.py"))
    embedder, _ = example["read"](EXAMPLES / "soft_triple_cub200.toml")
    random = {"module__weights": None, "image_size": 64, "max_epochs": 1}
    embedder.set_params(**random).fit(*example["load"](birds))
    groups = embedder.net_.optimizer_.param_groups
    assert {group["lr"] for group in groups} == {1e-4, 1e-2}
    assert {group["eps"] for group in groups} == {0.01}
    assert embedder.net_.criterion_.proxies.shape == (8, 5, 64)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("tau = 0.2", "tua = 0.2", "Invalid parameter 'tua'"),
        ("step_size", "step_sise", "lr_schedule__step_sise=20"),
        ("[parameters]", "[params]", "unknown keys ['params']"),
        ("method =", "methods =", "unknown keys ['methods']"),
        ("SoftTripleEmbedder", "SoftTriple", "got 'SoftTriple'"),
        ("tau = 0.2", "tau = two", "Invalid value (at line "),
        ("random_state = 0", "[reality_check]\nn_trails = 1", "parameter 'n_trails'"),
    ],
)
def test_settings_that_are_wrong(run, quick, birds, capsys, old, new, message):
    settings = quick("soft_triple_cub200.toml", **{old: new})
    with pytest.raises(SystemExit):
        run("reproduce.py", settings, birds)
    assert message in capsys.readouterr().err
