"""Versions and devices for reports of bugs."""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version

import joblib
import torch
from threadpoolctl import threadpool_info

from sk_dml._utils._torch import resolve_device

# What is installed with the package and with its extras, and pip.
PACKAGES = (
    "pip",
    *("numpy", "scipy", "scikit-learn", "torch", "skorch", "joblib", "filelock"),
    *("safetensors", "tqdm", "pynndescent", "numba", "threadpoolctl"),
    *("matplotlib", "pillow", "torchvision", "timm"),
    *("optuna", "sqlalchemy", "jinja2", "pandas", "polars", "umap-learn"),
)


def show_versions():
    """Print the versions and devices that a bug report needs.

    These are Python and the system, the installed dependencies with the optional ones
    (None if missing), the device that ``device="auto"`` chooses, and threads.

    Examples
    --------
    >>> import sk_dml
    >>> sk_dml.show_versions()
    System:
    ...
    """
    # The version that runs: that of the installed metadata may be older.
    versions = {"sk_dml": sys.modules["sk_dml"].__version__}
    versions.update({name: _version(name) for name in PACKAGES})
    system = {
        "python": sys.version.replace("\n", " "),
        "executable": sys.executable,
        "machine": platform.platform(),
    }
    blocks = {"System": system, "Packages": versions, "Devices": _devices()}
    for title, entries in blocks.items():
        print(f"{title}:")
        width = max(map(len, entries))
        for name, value in entries.items():
            print(f"{name:>{width + 4}}: {value}")
        print()
    print("Thread pools:")
    for pool in threadpool_info():
        print(
            f"    {pool['user_api']}: {pool['num_threads']} threads, "
            f"{pool['internal_api']} {pool['version']}, {pool['filepath']}"
        )


def _version(package):
    """Return the installed version of a package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _devices():
    """Return the default device and the numbers of CPUs and threads."""
    device = resolve_device("auto")
    if device.type == "cuda":
        device = f"{device}, {torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"
    return {
        "device": device,
        "CPUs": joblib.cpu_count(),
        "threads of torch": torch.get_num_threads(),
    }
