"""Where trials are kept: Optuna, its storages and its log, used with care."""

import contextlib
import importlib
import logging
import re
import threading
import time

# How often a database is tried that another process is just setting up.
N_TRIES, PAUSE = 5, 0.3


def import_optuna():
    """Import Optuna, which only comparisons need.

    Returns
    -------
    module

    Raises
    ------
    ImportError
        If it is missing; it says how to install it.
    """
    try:
        return importlib.import_module("optuna")
    except ImportError as error:
        raise ImportError(
            "RealityCheck needs Optuna: python -m pip install 'sk-dml[reality-check]'"
        ) from error


def hide_password(url):
    """Take the password out of a database URL, to show it.

    Parameters
    ----------
    url : str

    Returns
    -------
    str
    """
    url = re.sub(r"(://[^:/@]*):.*@", r"\1:***@", url)
    return re.sub(r"(?i)([?&;](?:password|passwd|pwd)=)[^&;\s'\"]*", r"\1***", url)


def open_storage(url):
    """Open the storage of the trials.

    Parameters
    ----------
    url : str or None
        A database URL, such as "sqlite:///check.db"; None keeps them in memory.

    Returns
    -------
    optuna.storages.BaseStorage

    Raises
    ------
    ValueError
        If it cannot be opened.
    """
    optuna = import_optuna()
    if url is None:
        return optuna.storages.InMemoryStorage()
    # sqlite lets one process write at a time; the others wait, by default too short.
    waits = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else None
    for rest in reversed(range(N_TRIES)):
        try:
            return optuna.storages.RDBStorage(url, engine_kwargs=waits)
        except Exception as error:
            if rest:  # two processes that make the same tables disturb each other
                time.sleep(PAUSE)
                continue
            reason = hide_password(str(error).partition("\n")[0])
            raise ValueError(
                f"storage={hide_password(url)!r} cannot be opened: "
                f"{type(error).__name__}: {reason}. Allowed are None, for memory, and "
                "database URLs such as 'sqlite:///check.db'."
            ) from None  # the cause may show the password
    raise AssertionError


@contextlib.contextmanager
def opened_storage(url):
    """Open the storage of the trials for a ``with`` block.

    Parameters
    ----------
    url : str or None
        As for :func:`open_storage`.
    """
    storage = open_storage(url)
    try:
        yield storage
    finally:
        storage.remove_session()
        if url is not None:
            storage.engine.dispose()


def create_study(storage, name=None, sampler=None, pruner=None):
    """Create or load a study that maximises, without a line in Optuna's log.

    Parameters
    ----------
    storage : optuna.storages.BaseStorage
    name : str or None, default=None
    sampler : optuna.samplers.BaseSampler or None, default=None
    pruner : optuna.pruners.BasePruner or None, default=None

    Returns
    -------
    optuna.Study
    """
    optuna = import_optuna()
    modules = "storages._in_memory", "storages._rdb.storage", "study.study"
    with _quiet(*(f"optuna.{module}" for module in modules)):
        return optuna.create_study(
            storage=storage,
            study_name=name,
            sampler=sampler,
            pruner=pruner,
            direction="maximize",
            load_if_exists=name is not None,
        )


@contextlib.contextmanager
def _quiet(*names):
    """Keep what this thread logs below a warning out of some of Optuna's logs."""
    own = threading.get_ident()

    def passes(record):
        return record.thread != own or record.levelno >= logging.WARNING

    loggers = [logging.getLogger(name) for name in names]
    for logger in loggers:
        logger.addFilter(passes)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(passes)
