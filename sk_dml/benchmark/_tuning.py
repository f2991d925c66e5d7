"""Which parameters to try next."""

import zlib

from sk_dml.benchmark._storage import create_study, import_optuna
from sk_dml.benchmark._tasks import make_seed

# Trial i knows the outcomes of trials 0 .. i - WINDOW: two run at once, and what is
# tried does not depend on who runs which.
WINDOW = 2


def n_random(n_trials):
    """Tell how many trials are drawn at random before the others learn from them.

    Parameters
    ----------
    n_trials : int

    Returns
    -------
    int
    """
    return min(10, (n_trials + 1) // 2)


def propose(dimensions, visible, *, seed, method, index, n_startup):
    """Propose the parameters of a trial, by TPE.

    Parameters
    ----------
    dimensions : dict of str to Dimension
    visible : list of optuna.trial.FrozenTrial
        The trials that it may learn from.
    seed : int
    method : str
    index : int
        Of the trial. With the seed and the method it decides what is drawn.
    n_startup : int
        From so many on the trials are learned from.

    Returns
    -------
    dict
        Values as Optuna stores them.
    """
    optuna = import_optuna()
    sampler = optuna.samplers.TPESampler(
        seed=make_seed(seed, 2, zlib.crc32(method.encode()), index),
        n_startup_trials=n_startup,
    )
    # In a study of its own, which holds what it may know and nothing else.
    study = create_study(optuna.storages.InMemoryStorage(), sampler=sampler)
    complete = optuna.trial.TrialState.COMPLETE
    study.add_trials([trial for trial in visible if trial.state == complete])
    distributions = {name: d.distribution for name, d in dimensions.items()}
    return study.ask(distributions).params
