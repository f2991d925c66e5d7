import sys

import numpy as np
import pytest
import torch

import sk_dml
from sk_dml._utils import _show_versions


def test_prints_what_a_report_needs(capsys, monkeypatch):
    monkeypatch.setattr(
        _show_versions, "PACKAGES", ("numpy", "no-package-has-this-name")
    )
    sk_dml.show_versions()
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert f"sk_dml: {sk_dml.__version__}" in lines
    assert f"numpy: {np.__version__}" in lines
    assert "no-package-has-this-name: None" in lines
    assert f"executable: {sys.executable}" in lines
    assert f"threads of torch: {torch.get_num_threads()}" in lines


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_names_the_gpu(capsys):
    sk_dml.show_versions()
    assert torch.cuda.get_device_name() in capsys.readouterr().out
