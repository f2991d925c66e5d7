"""What the README shows runs as it stands."""

import re
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=["closed set", "open set"])
def test_examples_run(example, capsys):
    names = {}
    exec(compile(example, "README.md", "exec"), names)
    printed = capsys.readouterr().out.split()
    if "pipeline" in names:
        raw, learned = map(float, printed)
        # As the comments beside them say, give or take the seeds.
        assert raw == pytest.approx(0.69, abs=0.01)
        assert learned == pytest.approx(0.97, abs=0.03)
    else:
        raw, learned = map(float, printed[-2:])
        assert raw == pytest.approx(0.05, abs=0.01)
        assert learned == pytest.approx(0.79, abs=0.1)
        assert names["embedding"].shape == (1000, 64)
        assert names["embedding"].dtype == "float32"


def test_two_commands():
    lines = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    assert [len(line.strip().splitlines()) for line in lines] == [1, 1]
    assert "python -m sk_dml" in lines[0]
    assert "python -m pytest" in lines[1]
