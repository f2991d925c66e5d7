"""Processes that are killed at any moment leave a checkpoint, and no lock."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import sk_dml
from sk_dml._training._checkpoint import locked
from sk_dml._training._net import EmbeddingNet
from tests._training.small import X, assert_same, embedder, y

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
]

KILLED = """
import os, random, signal, sys, time
import numpy as np
from sk_dml import CircleEmbedder
from sk_dml._training._checkpoint import LOCK, NAME

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
assert set(os.listdir(directory)) == {NAME, LOCK}
print(n_killed - 8)
"""

HOLDING = """
import os, sys, time
from sk_dml._training._checkpoint import locked
with locked(sys.argv[1]):
    child = os.fork() or time.sleep(60)
    print(child, flush=True)
    time.sleep(60)
"""


def start(script, *arguments):
    root = str(Path(sk_dml.__file__).parents[1])
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": root},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_killed_at_any_moment(tmp_path):
    process = start(KILLED, tmp_path / "run", 12)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert int(out) >= 3
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


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    process = start(HOLDING, tmp_path)
    child = int(process.stdout.readline())
    try:
        with pytest.raises(BlockingIOError, match="in use"), locked(tmp_path):
            raise AssertionError
        process.kill()
        process.wait()
        with locked(tmp_path):  # though a worker of the dead process may live on
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        process.stdout.close()
        process.stderr.close()
