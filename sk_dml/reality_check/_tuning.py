"""Which parameters to try next."""

import copy
import zlib

from sk_dml.reality_check._storage import create_study, import_optuna
from sk_dml.reality_check._tasks import make_seed

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
        The first trial that learns from others.

    Returns
    -------
    dict
        Values as Optuna stores them.
    """
    optuna = import_optuna()
    sampler = optuna.samplers.TPESampler(
        seed=make_seed(seed, 2, zlib.crc32(method.encode()), index),
        # Of those before it, the first to learn knows all but the latest.
        n_startup_trials=max(n_startup - WINDOW + 1, 1),
    )
    # In a study of its own, which holds what it may know and nothing else.
    study = create_study(optuna.storages.InMemoryStorage(), sampler=sampler)
    states = optuna.trial.TrialState
    ended = (states.COMPLETE, states.PRUNED)
    study.add_trials([trial for trial in visible if trial.state in ended])
    distributions = {name: d.distribution for name, d in dimensions.items()}
    return study.ask(distributions).params


class Judge:
    """Let a pruner of Optuna decide, fold by fold, whether a trial goes on.

    It sees the trials that this one may learn from and nothing else, so that what it
    decides does not depend on who runs which.

    Parameters
    ----------
    pruner : optuna.pruners.BasePruner
        Is copied: some remember what they saw.
    visible : list of optuna.trial.FrozenTrial
        The trials that it may learn from.
    method : str
    index : int
        Of the trial.
    """

    def __init__(self, pruner, visible, *, method, index):
        optuna = import_optuna()
        self.study = create_study(
            optuna.storages.InMemoryStorage(), method, pruner=copy.deepcopy(pruner)
        )
        for trial in visible:
            self.study.add_trial(
                optuna.trial.create_trial(
                    state=trial.state,
                    value=trial.value,
                    intermediate_values=trial.intermediate_values,
                    system_attrs=trial.user_attrs.get("pruner", {}),
                )
            )
        # Some pruners go by the number of the trial, which is to be its index.
        hidden = optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL)
        self.study.add_trials([hidden] * (index - len(visible)))
        self.trial = self.study.ask()

    def stops(self, step, value):
        """Report a value, and ask whether to stop the trial.

        Parameters
        ----------
        step : int
            Folds that are done.
        value : float

        Returns
        -------
        bool
        """
        self.trial.report(value, step)
        return self.trial.should_prune()

    @property
    def attributes(self):
        """What the pruner noted about the trial, for those that come after it."""
        return dict(self.study.get_trials(deepcopy=False)[-1].system_attrs)


def describe_pruner(pruner):
    """Describe a pruner by its settings.

    Parameters
    ----------
    pruner : optuna.pruners.BasePruner or None

    Returns
    -------
    str or None
        Such as "NopPruner()".
    """
    if pruner is None:
        return None
    settings = [
        f"{name.lstrip('_')}="
        + (describe_pruner(value) if hasattr(value, "prune") else repr(value))
        for name, value in sorted(vars(pruner).items())
    ]
    return f"{type(pruner).__name__}({', '.join(settings)})"
