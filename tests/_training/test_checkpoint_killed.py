"""A process that is killed at any moment leaves a checkpoint that goes on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import sk_dml
from sk_dml._training._net import EmbeddingNet
from tests._training.small import X, assert_same, embedder, y

KILLED = """
import os, random, signal, sys, time
import numpy as np
from sk_dml import CircleEmbedder
from sk_dml._training import _checkpoint, _lock

directory, moments = sys.argv[1], int(sys.argv[2])
rng = np.random.default_rng(0)
X, y = rng.normal(size=(40, 3)), np.arange(40) % 4

def fit(directory=None):
    embedder = CircleEmbedder(
        max_epochs=40, random_state=0, batch_size=20,
        net_params={"module__hidden": (8,)}, checkpoint_dir=directory,
    )
    return embedder.fit(X, y)

expected = fit().transform(X)
start = time.perf_counter()
fit(directory + "-timed")
duration = time.perf_counter() - start
random.seed(0)
n_killed = 0

def child(prepare, seconds=None):
    global n_killed
    pid = os.fork()
    if not pid:
        prepare()
        fit(directory)
        os._exit(0)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
    n_killed += os.WIFSIGNALED(os.waitpid(pid, 0)[1])

def dying(name, call, before):
    def prepare():
        original, calls = getattr(os, name), []
        def die(*args):
            calls.append(args)
            if len(calls) == call and before:
                os.kill(os.getpid(), signal.SIGKILL)
            result = original(*args)
            if len(calls) == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return result
        setattr(os, name, die)
    return prepare

# At each side of what writes a checkpoint, the first and a later one.
for name in ("fsync", "replace"):
    for call in (1, 4):
        for before in (True, False):
            child(dying(name, call, before))
assert n_killed == 8, n_killed
for _ in range(moments):
    child(int, random.uniform(0, 1.4 * duration / moments))
resumed = fit(directory)
assert (resumed.transform(X) == expected).all()
assert resumed.n_iter_ == 40
assert set(os.listdir(directory)) == {_checkpoint.NAME, _lock.NAME}
print(n_killed - 8)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_any_moment(tmp_path):
    root = str(Path(sk_dml.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "run"), "8"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 3
    # To this process, too, they are the same data and parameters.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EmbeddingNet, "train_step", None)
        loaded = embedder(max_epochs=40, checkpoint_dir=tmp_path / "run").fit(X, y)
    # Sums of another number of threads differ in their last digits.
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        undisturbed = embedder(max_epochs=40).fit(X, y)
    finally:
        torch.set_num_threads(n_threads)
    assert_same(loaded, undisturbed)
