"""What the README shows runs as it stands."""

import re
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def run(example, names, capsys):
    exec(compile(example, "README.md", "exec"), names)
    return capsys.readouterr().out.split()


def test_known_classes(capsys):
    raw, learned = map(float, run(EXAMPLES[0], {}, capsys))
    # As the comments beside them say, give or take the seeds.
    assert raw == pytest.approx(0.69, abs=0.01)
    assert learned == pytest.approx(0.97, abs=0.03)


def test_unseen_classes(capsys):
    names = {}
    raw, learned = map(float, run(EXAMPLES[1], names, capsys)[-2:])
    assert raw == pytest.approx(0.05, abs=0.01)
    assert learned == pytest.approx(0.79, abs=0.1)
    assert names["embedding"].shape == (1000, 64)
    assert names["embedding"].dtype == "float32"
    # What comes next goes on with the same data.
    found = " ".join(run(EXAMPLES[2], names, capsys))
    for i in range(3):
        assert f"['recording {i}' " in found  # each finds itself first
    assert names["index"].n_samples_fit_ == 1000
    assert float(run(EXAMPLES[3], names, capsys)[-1]) > 0.5
    assert names["search"].best_params_["embed"] != "passthrough"
    run(EXAMPLES[4], names, capsys)
    assert len(names["result"].rows()) == 2 * (2 + 2)
    assert all(row["n"] == 2 for row in names["result"].rows())


def test_two_commands():
    lines = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    assert [len(line.strip().splitlines()) for line in lines] == [1, 1]
    assert "python -m sk_dml" in lines[0]
    assert "python -m pytest" in lines[1]
