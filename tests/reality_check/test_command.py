import csv
import json
import os
import pickle
from argparse import ArgumentTypeError

import numpy as np
import pandas as pd
import pytest

from sk_dml.__main__ import main
from sk_dml.reality_check import _workers
from sk_dml.reality_check._command import load, seconds, show
from tests.reality_check.results import made
from tests.reality_check.small import data

X, y = data()
QUICK = "--trials 1 --folds 2 --repeats 2 --max-epochs 1 --methods triplet,softmax"


def read(path):
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.fixture
def table(tmp_path):
    names = [f"x{i}" for i in range(5)]
    frame = pd.DataFrame(X, columns=names).assign(kind=[f"class {i}" for i in y])
    frame.to_csv(tmp_path / "data.csv", index=False)
    frame.to_parquet(tmp_path / "data.parquet")
    np.savez(tmp_path / "data.npz", X=X, kind=y)
    np.savez(tmp_path / "target.npz", y=y)
    return tmp_path


# One epoch may not be enough to learn.
@pytest.mark.filterwarnings("ignore:The embedding:UserWarning")
def test_command(table, capsys):
    out = table / "out"
    command = f"reality-check --data {table}/data.csv --target kind --out {out} {QUICK}"
    command += " --prune"
    main(command.split())
    shown = capsys.readouterr()
    assert shown.err == ""  # bars are for terminals
    lines = shown.out.splitlines()
    assert lines[1 + 2 * 8] == ""
    assert lines[2 + 2 * 8].startswith("The method with the highest MAP@R on the test")
    assert lines[-1] == f"Report: {out / 'report.html'}"
    rows = read(out / "results.csv")
    assert [row["method"] for row in rows[::2]][:3] == [
        "Triplet",
        "Softmax",
        "raw features",
    ]
    assert {row["scoring"] for row in rows} == {"separated", "concatenated"}
    trials = read(out / "trials.csv")
    assert len(trials) == 2
    assert set(json.loads(trials[0]["params"])) == {"margin", "mining"}
    settings = json.loads((out / "settings.json").read_text())
    assert settings["settings"]["n_repeats"] == 2
    assert settings["settings"]["pruner"].startswith("MedianPruner")
    report = (out / "report.html").read_text(encoding="utf-8")
    assert f"Reality check on {table}/data.csv" in report
    assert all(f"{float(row['map_at_r']):.3f}" in report for row in rows)
    # Once more, and nothing is left to do.
    main(command.split())
    again = capsys.readouterr()
    assert again.err == ""
    assert again.out == shown.out


def test_ctrl_c_prints_how_to_continue(table, monkeypatch, capsys):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(_workers, "score_fold", interrupt)
    command = f"reality-check --data {table}/data.csv --target kind --out {table} "
    with pytest.raises(SystemExit) as stop:
        main((command + QUICK).split())
    assert stop.value.code == 130
    assert capsys.readouterr().err.endswith("The same command continues from here.\n")


def test_no_result_is_a_failure(table, capsys):
    rows = X.copy()
    rows[:, 0] = np.nan
    np.savez(table / "nan.npz", X=rows, y=y)
    with pytest.raises(SystemExit) as stop:
        main(f"reality-check --data {table}/nan.npz --out {table} {QUICK}".split())
    assert stop.value.code == 1
    assert "No method has a result." in capsys.readouterr().out


def test_one_repeat_has_no_interval():
    shown = show(made(n_repeats=1)).splitlines()
    assert shown[1].endswith("0.500  one repeat")
    assert show(made()).splitlines()[1].endswith("0.500  0.475 to 0.525")
    assert shown[8].endswith("none  it broke")


def test_files_hold_the_same(table):
    for name in ("data.csv", "data.parquet", "data.npz"):
        loaded, classes = load(str(table / name), "kind")
        np.testing.assert_allclose(loaded, X)
        assert len(np.unique(classes)) == 8
    assert load("digits", "y")[0].shape == (1797, 64)
    (table / "images" / "a").mkdir(parents=True)
    (table / "images" / "a" / "1.png").touch()
    assert load(str(table / "images"), "y")[0].shape == (1,)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2h", 7200), ("90m", 5400), ("1h30m", 5400), ("45", 45), ("1.5s", 1.5)],
)
def test_durations(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "2d", "h", "-3s", "0", "2 h"])
def test_bad_durations(text):
    with pytest.raises(ArgumentTypeError, match="such as 2h, 1h30m or 45s, got"):
        seconds(text)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--data data.csv", "data.csv has no 'y' for the classes, but ['x0', "),
        ("--data data.npz", "data.npz has no 'y' for the classes, but ['X', "),
        ("--data data.parquet --target x0", "leave out the columns ['kind']"),
        ("--data target.npz", "target.npz must hold an array 'X', got ['y']."),
        ("--data data.txt", "data must be 'digits', 'glyphs', a folder, or a file"),
        ("--data missing.npz", "No such file or directory: 'missing.npz'"),
        ("--data digits --methods circel", "'circel', which is no embedder"),
        (
            "--data digits --folds 2 --storage nonsense",
            "storage='nonsense' cannot be opened",
        ),
        (
            "--data digits",
            "n_folds (--folds of the command) up to 2, a smaller test_size",
        ),
        (
            "--data digits --out what?",
            "out must be a folder without ? % { } in its path",
        ),
        ("--data digits --out data.csv", "--out: must be a folder that exists or can"),
        ("--data digits --out data.csv/x", "got 'data.csv/x' (Not a directory)"),
        ("--data digits --jobs 0", "--jobs: must be a number from 1 on, or -1 for"),
        ("--data digits --jobs two", "for all processors, got 'two'"),
        ("--data digits --out {x}", "cannot hold, got '{x}'"),
        ("--data digits --folds 9", "n_folds=9 takes two classes"),
        ("--data digits --folds 2 --test-size .7", "Choose a smaller test_size, or"),
        ("--data digits --folds 2 --test-size 7", "Choose a smaller test_size, or"),
        ("--data digits --test-size few", "or a number such as 3, got 'few'"),
        (
            "--data digits --time-limit soon",
            "a duration above 0 such as 2h, 1h30m or 45s, got 'soon'",
        ),
    ],
)
def test_bad_input(table, monkeypatch, capsys, options, message):
    monkeypatch.chdir(table)
    with pytest.raises(SystemExit) as stop:
        main(["reality-check", *options.split()])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    assert not {"what", "what?", "{x}"}.intersection(os.listdir(table))


@pytest.mark.parametrize(
    "kind", ["cut", "flipped", "empty", "objects", "pickle", "npy"]
)
def test_files_without_arrays(kind, table, monkeypatch, capsys):
    path, content = table / "bad.npz", (table / "data.npz").read_bytes()
    if kind == "cut":
        path.write_bytes(content[:500])
    elif kind == "flipped":
        path.write_bytes(content[:300] + bytes([content[300] ^ 255]) + content[301:])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "objects":
        np.savez(path, X=np.array([1, None]), y=[0, 1])
    elif kind == "pickle":
        path.write_bytes(pickle.dumps({"X": 1}))
    else:
        with path.open("wb") as file:
            np.save(file, X)
    monkeypatch.setattr(pickle, "loads", None)
    monkeypatch.setattr(pickle, "load", None)
    with pytest.raises(SystemExit):
        main(["reality-check", "--data", str(path), "--out", str(table / "out")])
    error = " ".join(capsys.readouterr().err.split())
    assert "bad.npz must be a whole file of np.savez without objects" in error
    assert not (table / "out").exists()


def test_few_of_many_columns_are_named(tmp_path):
    names = [f"x{i}" for i in range(500)] + ["species"]
    path = tmp_path / "wide.npz"
    np.savez(path, **{name: np.zeros(1) for name in names})
    with pytest.raises(ValueError, match=r"but \['species'\] and 500 more\. Choose"):
        load(str(path), "spezies")
    with pytest.raises(ValueError, match=r"'x8', 'species'\] and 491 more"):
        load(str(path), "label")
