"""Fits killed at random moments, and the results of the resumed ones.

Every fit runs in a process of its own and is killed by SIGKILL; after each, the
checkpoint is read as a whole. The last one runs to its end, and its embedding is
compared with that of an undisturbed fit, bit for bit. Needs POSIX.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _report import header, in_process, parse
from safetensors import SafetensorError, safe_open

from sk_dml import CircleEmbedder, NormalizedSoftmaxEmbedder
from sk_dml._training._checkpoint import NAME

METHODS = {"circle": CircleEmbedder, "proxies": NormalizedSoftmaxEmbedder}


def fit(method, n_samples, max_epochs, directory, output=None):
    """Fit and write the result; return the seconds."""
    rng = np.random.default_rng(0)
    y = np.arange(n_samples) % 100
    X = rng.normal(size=(100, 16))[y] + rng.normal(size=(n_samples, 16))
    memory = {"memory_size": 512} if method == "circle" else {}
    embedder = METHODS[method](
        max_epochs=max_epochs, random_state=0, checkpoint_dir=directory, **memory
    )
    print("started", flush=True)
    start = time.perf_counter()
    embedder.fit(X, y)
    seconds = time.perf_counter() - start
    if output:
        np.save(output, embedder.transform(X))
    return seconds


def state_of(directory):
    """Return the epoch of a checkpoint, "none" or "torn"."""
    path = Path(directory) / NAME
    if not path.exists():
        return "none"
    try:
        with safe_open(path, "np") as file:
            names = file.keys()
            for name in names:
                file.get_tensor(name)
            return json.loads(file.metadata()["sk_dml"])["n_epochs"]
    except (SafetensorError, OSError, ValueError):
        return "torn"


def killed(settings, seconds):
    """Run a fit in a process that is killed some seconds after the fit began."""
    command = [sys.executable, __file__, "--call", json.dumps(["fit", settings])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    process.stdout.readline()
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--moments", type=int, default=20)
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--epochs", type=int, default=40)
    given = parse(parser, globals())
    print(header("resume.py", "safetensors"))
    print(
        f"\n{given.samples:,} rows x 16, 100 classes, {given.epochs} epochs.\n\n"
        "| method | killed | epoch in the checkpoint after each kill | torn "
        "| resumed = undisturbed |\n|---|---|---|---|---|"
    )
    random.seed(0)
    for method in METHODS:
        with tempfile.TemporaryDirectory() as work:
            settings = {
                "method": method,
                "n_samples": given.samples,
                "max_epochs": given.epochs,
                "directory": None,
                "output": f"{work}/expected.npy",
            }
            duration = in_process(__file__, "fit", **settings)
            settings |= {"directory": f"{work}/run", "output": f"{work}/resumed.npy"}
            n_killed, states = 0, []
            for _ in range(given.moments):
                # Fits begin slowly, because they load parts of torch.
                seconds = random.uniform(0, 1.5 + 1.5 * duration / given.moments)
                n_killed += killed(settings, seconds)
                states.append(state_of(settings["directory"]))
            in_process(__file__, "fit", **settings)
            expected, resumed = (
                np.load(f"{work}/{name}.npy") for name in ("expected", "resumed")
            )
            same = "yes" if (expected == resumed).all() else "no"
        print(
            f"| {method} | {n_killed} | {' '.join(map(str, states))} "
            f"| {states.count('torn')} | {same} |"
        )


if __name__ == "__main__":
    main()
