"""What a comparison ran with, to be shown beside its results."""

import datetime
import importlib
import os
import platform

import torch

PACKAGES = ("sk_dml", "numpy", "scipy", "sklearn", "torch", "skorch", "optuna")


def versions():
    """List the versions of what results depend on.

    Returns
    -------
    dict of str to str
    """
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        found[name] = importlib.import_module(name).__version__
    return found


def hardware():
    """Describe the machine.

    Returns
    -------
    dict of str to plain values
    """
    gpus = [
        torch.cuda.get_device_name(i)
        for i in range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    ]
    return {
        "system": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "n_cpus": os.cpu_count(),
        "n_threads": torch.get_num_threads(),
        "gpus": gpus,
    }


def today():
    """Tell the date.

    Returns
    -------
    str
    """
    return datetime.datetime.now(datetime.UTC).date().isoformat()
