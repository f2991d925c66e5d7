"""Shared code of the benchmarks: heads of reports, measurements in fresh processes."""

import argparse
import json
import os
import platform
import re
import resource
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch


def header(name, *peers):
    """Return a few lines of Markdown that describe the run."""
    packages = ("sk-dml", "torch", "skorch", "scikit-learn", "numpy", *peers)
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    return "\n".join(
        [
            f"# {name}",
            "",
            f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, "
            f"{os.cpu_count()} cores, Python {platform.python_version()}, {versions}.",
        ]
    )


def parse(parser, names):
    """Parse the command line; in a fresh process, make its measurement and exit."""
    parser.add_argument("--call", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.call:
        answer(names, options.call)
        parser.exit()
    return options


def show_parts(names, options):
    """Print the chosen parts, each by its function ``show_PART``."""
    for part in options.parts:
        show = names[f"show_{part}"]
        print(f"\n## {part}\n\n{show.__doc__}\n")
        show(options)


def in_process(file, function, threads=1, **arguments):
    """Call a function of a benchmark in a fresh process.

    ``threads=None`` leaves the number of threads as it is. Returns what the function
    does, or, as a str, what it died of.
    """
    environment = dict(os.environ)
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    command = [sys.executable, file, "--call", json.dumps([function, arguments])]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["killed"])[-1]
        return reason.partition(":")[0]
    return json.loads(done.stdout.splitlines()[-1])


def answer(names, call):
    """Run the function that in_process names, in the fresh process."""
    function, arguments = json.loads(call)
    print(json.dumps(names[function](**arguments)))


def added_memory(loss, n, n_features, labels, limit=None):
    """Measure the memory that a first forward and backward of a loss add, in MB."""
    # The first call loads parts of torch: make it before measuring.
    torch.randn(8, 8, requires_grad=True).square().sum().backward()
    embeddings = torch.randn(n, n_features, requires_grad=True)
    reset_peak_memory()
    before = peak_memory()
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    loss(embeddings, labels).backward()
    return peak_memory() - before


def reset_peak_memory():
    """Reset the peak memory of this process to its resident memory."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_memory():
    """Return the peak resident memory of this process, in MB."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) / 1024
