import builtins
import logging
from functools import partial

import numpy as np
import optuna
import pytest
import sqlalchemy
from scipy import stats
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sk_dml import CircleEmbedder, TripletEmbedder
from sk_dml.reality_check import RealityCheck, _search
from sk_dml.reality_check._search import (
    Method,
    TrialQueue,
    count_random,
    create_study,
    default_space,
    describe_pruner,
    describe_space,
    hide_password,
    make_seed,
    name_estimators,
    opened_storage,
    translate,
    translate_space,
)
from sk_dml.utils import all_embedders


def test_names_of_methods():
    assert len(name_estimators(None)) == len(all_embedders())
    named = name_estimators(["circle", "SoftTripleEmbedder", "multi-similarity"])
    assert list(named) == ["Circle", "SoftTriple", "MultiSimilarity"]
    assert list(name_estimators([CircleEmbedder(3), PCA(2)])) == ["Circle", "PCA"]
    with pytest.raises(ValueError, match=r"'circel', which is no embedder.*'Circle'"):
        name_estimators(["circel"])
    with pytest.raises(ValueError, match="two methods named 'Circle'"):
        name_estimators(["circle", CircleEmbedder()])
    with pytest.raises(ValueError, match="got none"):
        name_estimators([])


# Search spaces


def draw(space, n=400):
    dimension = translate("x", space)
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = create_study(optuna.storages.InMemoryStorage(), "draw")
    study.sampler = sampler
    values = [dimension.suggest(study.ask(), "x") for _ in range(n)]
    return [dimension.decode(value) for value in values]


@pytest.mark.parametrize(
    "space",
    [
        stats.uniform(-1, 3),
        stats.loguniform(1e-3, 10),
        stats.loguniform(1, 10, loc=5),
        stats.loguniform(1, 10, scale=3),
        stats.norm(5, 2),
        stats.expon(scale=3),
        stats.beta(2, 5),
    ],
    ids=lambda space: space.dist.name,
)
def test_draws_follow_continuous_distributions(space):
    values = draw(space)
    assert all(type(value) is float for value in values)
    assert stats.kstest(values, space.cdf).pvalue > 0.01


@pytest.mark.parametrize(
    "space",
    [stats.randint(2, 6), stats.binom(4, 0.3), stats.poisson(2)],
    ids=lambda space: space.dist.name,
)
def test_draws_follow_discrete_distributions(space):
    values = draw(space)
    assert all(type(value) is int for value in values)
    for value in range(6):
        share = np.mean(np.array(values) == value)
        assert share == pytest.approx(space.pmf(value), abs=0.08)


def test_draws_follow_lists():
    for values in ([False, True, "class"], [None, 2, 0.5], [(256,), (512, 512)]):
        drawn = draw(values, 60)
        assert {str(value) for value in drawn} == set(map(str, values))
        assert all(value in values for value in drawn)
    steps = [PCA(2), "passthrough"]
    assert any(value is steps[0] for value in draw(steps, 20))


@pytest.mark.parametrize(
    "cls", [cls for _, cls in all_embedders()], ids=lambda cls: cls.__name__
)
def test_every_method_translates(cls):
    dimensions = translate_space("it", cls(), cls.search_space())
    study = create_study(optuna.storages.InMemoryStorage(), "draw")
    study.sampler = optuna.samplers.RandomSampler(seed=0)
    for _ in range(9):
        trial = study.ask()
        params = {n: d.decode(d.suggest(trial, n)) for n, d in dimensions.items()}
        cls(**params)._validate_params()


def test_default_space_of_pipelines():
    pipeline = make_pipeline(StandardScaler(), TripletEmbedder())
    space = default_space(pipeline)
    assert set(space) == {"tripletembedder__margin", "tripletembedder__mining"}
    assert set(translate_space("it", pipeline, space)) == set(space)
    assert default_space(PCA(2)) == {}
    assert describe_space(space) == {
        "tripletembedder__margin": "uniform in [0, 0.5]",
        "tripletembedder__mining": "['all', 'semihard', 'hard']",
    }


def test_values_are_shown_without_addresses():
    space = {"func": [np.log1p, partial(draw, n=3), FunctionTransformer(draw), PCA(2)]}
    (shown,) = describe_space(space).values()
    assert " at 0x" not in shown
    assert "(func=<function draw>), PCA(n_components=2)" in shown
    labels = translate("func", space["func"]).range["choices"]
    assert labels[1] == "1: functools.partial(<function draw>, n=3)"


def test_parameters_are_shown_as_plain_values():
    space = {"n_components": stats.norm(5, 2), "svd_solver": ["full", PCA(2)]}
    dimensions = {name: translate(name, values) for name, values in space.items()}
    method = Method("PCA", "method", PCA(), space, dimensions)
    shown = method.show({"n_components": 0.5, "svd_solver": "1: PCA(n_components=2)"})
    assert shown == {"n_components": 5.0, "svd_solver": "1: PCA(n_components=2)"}


@pytest.mark.parametrize(
    ("space", "error", "message"),
    [
        ({"gama": [1]}, ValueError, r"parameter 'gama'\. Allowed are: .*'gamma'"),
        ({"gamma": []}, ValueError, "'gamma of it' is an empty list"),
        ({"gamma": 3}, TypeError, "'gamma of it' must be a list or a frozen"),
        ({"gamma": stats.uniform}, TypeError, "must be a list or a frozen"),
        (["gamma"], TypeError, r"search_spaces\['it'\] must be a dict"),
    ],
    ids=["unknown", "empty", "number", "not frozen", "no dict"],
)
def test_bad_spaces(space, error, message):
    with pytest.raises(error, match=message):
        translate_space("it", CircleEmbedder(), space)


# Storage


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "'nonsense' cannot be opened: ArgumentError"),
        ("sqlite:////no/such/folder/check.db", "OperationalError.*unable to open"),
        ("other://me:secret@host/check", r"'other://me:\*\*\*@host/check'"),
        ("other://me:a@b:secret@host/check", r"'other:\.\.\.' cannot be opened: Value"),
        ("other:///check?user=me&pwd=secret", r"pwd=\.\.\.&user=me' cannot be"),
    ],
)
def test_storages_that_cannot_be_opened(url, message):
    with pytest.raises(ValueError, match=message) as error, opened_storage(url):
        pass
    assert "secret" not in str(error.value)
    assert error.value.__cause__ is None


def test_files_that_are_no_database(tmp_path):
    (tmp_path / "check.db").write_text("It is none. " * 100)
    url = f"sqlite:///{tmp_path}/check.db"
    with pytest.raises(ValueError, match="not a database"), opened_storage(url):
        pass


def test_passwords_are_hidden():
    assert hide_password("mysql://me:a:b@host/x") == "mysql://me:***@host/x"
    url = "postgresql:///x?Password={}&user=me"
    assert hide_password(url.format("a:b")) == url.format("...")
    assert hide_password("sqlite:///a.db") == "sqlite:///a.db"


def test_log_of_optuna_is_as_the_user_set_it():
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    logger = logging.getLogger("optuna")
    before = logger.level, optuna.logging.get_verbosity(), logger.handlers[:]
    logger.addHandler(handler)
    try:
        storage = optuna.storages.InMemoryStorage()
        create_study(storage, "ours")
        assert not records
        optuna.create_study(storage=storage, study_name="the user's")
        assert len(records) == 1
    finally:
        logger.removeHandler(handler)
    assert (logger.level, optuna.logging.get_verbosity(), logger.handlers) == before


def test_missing_optuna_is_asked_for(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] == "optuna":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(_search.importlib, "import_module", without)
    with pytest.raises(ImportError, match=r"pip install 'sk-dml\[reality-check\]'"):
        RealityCheck().run([[0.0]], [0])


# Trials

X_TO_1 = {"x": translate("x", stats.uniform(0, 1)), "k": translate("k", list("abcde"))}


@pytest.fixture
def database(tmp_path):
    with opened_storage(f"sqlite:///{tmp_path}/check.db") as storage:
        yield storage


@pytest.fixture(params=["memory", "sqlite"])
def storage(request):
    if request.param == "sqlite":
        return request.getfixturevalue("database")
    return optuna.storages.InMemoryStorage()


def queue_of(storage, n_trials=5, description=None, n_random=None, **params):
    settings = {"dimensions": X_TO_1, "n_random": n_random or n_trials, "seed": (1, 2)}
    settings |= {"description": description or {}} | params
    return TrialQueue(storage, "study", n_trials, **settings)


def finish(queue, trial):
    queue.tell(trial, value=trial.number, note=["a", trial.number])


def numbers(queue, state):
    return [trial.number for trial in queue.trials() if trial.state.name == state]


def age_heartbeats(storage, seconds):
    with storage.engine.begin() as connection:
        connection.execute(
            sqlalchemy.text(
                "UPDATE trial_heartbeats "
                f"SET heartbeat = datetime(heartbeat, '-{seconds} seconds')"
            )
        )


def test_every_trial_is_taken_once(storage):
    queues = queue_of(storage), queue_of(storage)
    taken = []
    while (trial := queues[len(taken) % 2].ask()) is not None:
        taken.append(trial.number)
        finish(queues[(len(taken) - 1) % 2], trial)
    assert taken == [0, 1, 2, 3, 4]
    for queue in queues:
        assert queue.ask() is None
        assert queue.is_done()
        assert [trial.value for trial in queue.trials()] == taken
        assert queue.trials()[3].user_attrs["note"] == ["a", 3]
        assert queue.best().number == 4


def test_parameters_depend_on_the_number_and_the_trials_before(storage):
    def choose(values, **params):
        queue = queue_of(params.pop("storage", optuna.storages.InMemoryStorage()))
        queue.n_random, queue.seed = 4, params.pop("seed", (1, 2))
        for value in values:
            queue.tell(queue.ask(), value=value)
        return [trial.params for trial in queue.trials()] + [queue.ask().params]

    values = [0.1, 0.5, 0.2, 0.6]
    first = choose(values, storage=storage)
    assert choose(values) == first
    assert choose(values, seed=(2, 2))[0] != first[0]
    other = choose([0.6, 0.2, 0.5, 0.1])
    assert other[:4] == first[:4]  # drawn at random
    assert other[4] != first[4]
    assert len({params["x"] for params in first}) == 5


def test_the_first_trial_that_may_learn_does():
    def proposed(n_trials, seed, best):
        """Propose a value if the score is the higher the nearer to the best."""
        index = count_random(n_trials)
        storage = optuna.storages.InMemoryStorage()
        dimensions = {"x": X_TO_1["x"]}
        settings = {"dimensions": dimensions, "n_random": index, "seed": (seed,)}
        queue = queue_of(storage, n_trials, **settings)
        for x in np.linspace(0, 1, index):
            queue.study.add_trial(
                optuna.trial.create_trial(
                    params={"x": x},
                    distributions={"x": optuna.distributions.FloatDistribution(0, 1)},
                    value=-abs(x - best),
                )
            )
        return queue.ask().params["x"]

    for n_trials in (10, 50):
        draws = [[proposed(n_trials, s, best) for s in range(9)] for best in (0.0, 1.0)]
        assert draws[0] != draws[1]


def test_released_trials_are_run_again_with_number_and_parameters(database):
    queue = queue_of(database)
    finish(queue, queue.ask())
    trial, after = queue.ask(), queue.ask()
    queue.release()
    assert queue.held == {}
    assert numbers(queue, "WAITING") == [1, 2]
    other = queue_of(database)
    again = other.ask()
    assert (again.number, again.params) == (1, trial.params)
    other.tell(again, value=1)
    queue.tell(trial, value=100)  # too late
    queue.tell(after, value=100)  # it waits for another process
    while (trial := other.ask()) is not None:
        finish(other, trial)
    assert [trial.value for trial in other.trials()] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("moment", ["asking", "telling"])
def test_interrupted_at_any_moment_it_holds_nothing(storage, monkeypatch, moment):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    queue = queue_of(storage)
    if moment == "asking":
        monkeypatch.setattr(queue, "_choose_parameters", interrupt)
        with pytest.raises(KeyboardInterrupt):
            queue.ask()
    else:
        trial = queue.ask()
        monkeypatch.setattr(queue.study, "tell", interrupt)
        with pytest.raises(KeyboardInterrupt):
            queue.tell(trial, value=1)
    monkeypatch.undo()
    queue.release()
    assert queue.held == {}
    assert queue_of(storage).ask().number == 0


def test_trials_without_a_heartbeat_are_run_by_others(database):
    killed, living, other = (queue_of(database, 2) for _ in range(3))
    first, second = killed.ask(), living.ask()
    database.record_heartbeat(first._trial_id)
    assert other.ask() is None
    age_heartbeats(database, 58)
    assert other.ask() is None
    age_heartbeats(database, 4)
    database.record_heartbeat(second._trial_id)
    again = other.ask()
    assert (again.number, again.params) == (0, first.params)
    assert queue_of(database, 2).ask() is None  # the old heartbeat is of no account
    finish(other, again)
    finish(living, second)
    killed.tell(first, value=100)
    assert [trial.value for trial in other.trials()] == [0, 1]


def test_killed_before_the_first_heartbeat(database):
    killed = queue_of(database, 1).ask()
    other = queue_of(database, 1)
    assert other.ask() is None
    age_heartbeats(database, 62)
    assert other.ask().params == killed.params


def test_killed_while_parameters_were_stored(database, monkeypatch):
    expected = queue_of(optuna.storages.InMemoryStorage()).ask().params
    queue = queue_of(database)
    (first, *_) = X_TO_1
    monkeypatch.setattr(queue, "dimensions", {first: X_TO_1[first]})
    assert queue.ask().params == {first: expected[first]}
    queue.release()
    assert queue_of(database).ask().params == expected


def test_new_trials_wait_for_those_that_ran_at_the_start(database, monkeypatch):
    now = 0.0
    monkeypatch.setattr(_search.time, "monotonic", lambda: now)
    one = queue_of(database, 6, n_random=2)
    running = one.ask()
    other = queue_of(database, 6, n_random=2)
    second = other.ask()
    assert second.number == 1  # it is drawn at random
    finish(other, second)
    assert other.ask() is None
    pruning = queue_of(database, 6, pruner=optuna.pruners.NopPruner())
    assert pruning.ask() is None  # it is compared with those before
    now = _search.GRACE + _search.HEARTBEAT + 1
    third = other.ask()
    assert third.number == 2  # the first is alive
    finish(one, running)
    assert pruning.ask().number == 3
    assert queue_of(database, 6).ask().number == 4


def test_failures_count_with_their_reason(storage):
    queue = queue_of(storage, 1)
    queue.tell(queue.ask(), error="ValueError: no")
    assert queue.is_done()
    assert queue.ask() is None
    assert queue.best() is None
    assert queue.trials()[0].user_attrs["error"] == "ValueError: no"
    assert queue.trials()[0].value is None


def test_more_trials_go_on(storage):
    for n_trials in (2, 3, 1):
        queue = queue_of(storage, n_trials)
        while not queue.is_done():
            finish(queue, queue.ask())
        assert len(queue.trials()) == n_trials
    assert [trial.value for trial in queue_of(storage, 9).trials()] == [0, 1, 2]


def test_two_that_take_the_last_at_once(storage, monkeypatch):
    queue, other = queue_of(storage, 1), queue_of(storage, 1)
    with monkeypatch.context() as patch:
        patch.setattr(other, "trials", list)  # it has not seen the first
        mine, theirs = queue.ask(), other.ask()
    assert mine.number == 0
    assert theirs is None
    assert other.held == {}
    finish(queue, mine)
    assert other.is_done()
    larger = queue_of(storage, 2)
    finish(larger, larger.ask())
    assert [trial.value for trial in larger.trials()] == [0, 1]


def test_other_settings_are_refused(storage):
    queue_of(storage, description={"seed": 0, "data": [1, 2]})
    queue_of(storage, description={"seed": 0, "data": [1, 2]})
    with pytest.raises(ValueError, match=r"'study' .* seed was 0 and is 1\."):
        queue_of(storage, description={"seed": 1, "data": [1, 2]})


def test_seeds_differ():
    seeds = {make_seed(0, i, j) for i in range(3) for j in range(50)}
    assert len(seeds) == 150
    assert all(0 <= seed < 2**31 for seed in seeds)


# The one pruner of Optuna that wraps another is experimental.
@pytest.mark.filterwarnings("ignore:PatientPruner is experimental")
def test_description_of_pruners():
    inner = optuna.pruners.ThresholdPruner(lower=0.5)
    assert describe_pruner(inner) == (
        "ThresholdPruner(interval_steps=1, lower=0.5, n_warmup_steps=0, upper=inf)"
    )
    assert describe_pruner(optuna.pruners.PatientPruner(inner, 2)) == (
        "PatientPruner(min_delta=0.0, patience=2, wrapped_pruner="
        f"{describe_pruner(inner)})"
    )
