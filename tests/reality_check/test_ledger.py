import itertools

import optuna
import pytest

from sk_dml.reality_check import _ledger
from sk_dml.reality_check._ledger import Ledger
from sk_dml.reality_check._storage import open_storage

SPACE = {"x": optuna.distributions.FloatDistribution(0, 1)}


@pytest.fixture(params=[None, "sqlite"])
def storage(request, tmp_path):
    return open_storage(request.param and f"sqlite:///{tmp_path}/check.db")


def ledger_of(storage, n_pieces=5, **params):
    return Ledger(storage, "study", n_pieces, **params)


def finish(ledger, attempt):
    ledger.suggest(attempt, {"x": attempt.index / 10}, SPACE)
    ledger.finish(attempt, value=attempt.index, note=["a", attempt.index])


def test_every_piece_is_taken_once(storage):
    ledger, other = ledger_of(storage), ledger_of(storage)
    taken = []
    for one in itertools.cycle([ledger, other]):
        attempt = one.claim()
        if attempt is None:
            break
        taken.append(attempt.index)
        finish(one, attempt)
    assert taken == [0, 1, 2, 3, 4]
    assert ledger.is_done()
    assert other.is_done()
    values = [trial.value for trial in ledger.pieces().values()]
    assert values == taken
    assert ledger.pieces()[3].params == {"x": 0.3}
    assert ledger.pieces()[3].user_attrs["note"] == ["a", 3]


def test_window_holds_back(storage):
    ledger = ledger_of(storage, window=2, n_free=1)
    first, second = ledger.claim(), ledger.claim()
    assert (first.index, second.index) == (0, 1)
    assert ledger.claim() is None  # the third wants to know the first
    finish(ledger, second)
    assert ledger.claim() is None
    finish(ledger, first)
    third = ledger.claim()
    assert [trial.value for trial in ledger.visible(third.index)] == [0]
    fourth = ledger.claim()
    assert [trial.value for trial in ledger.visible(fourth.index)] == [0, 1]
    assert ledger.claim() is None
    # What is seen does not depend on what else is done meanwhile.
    finish(ledger, fourth)
    assert [trial.value for trial in ledger.visible(third.index)] == [0]


def test_released_pieces_are_taken_again_with_their_parameters(storage):
    ledger = ledger_of(storage)
    finish(ledger, ledger.claim())
    attempt = ledger.claim()
    assert ledger.suggest(attempt, {"x": 0.7}, SPACE) == {"x": 0.7}
    ledger.release()
    assert list(ledger.pieces()) == [0]
    other = ledger_of(storage)
    again = other.claim()
    assert again.index == 1
    assert other.suggest(again, {"x": 0.1}, SPACE) == {"x": 0.7}
    other.finish(again, value=1)
    # Too late: the first is not counted.
    ledger.finish(attempt, value=100)
    for _ in range(3):
        finish(other, other.claim())
    assert other.claim() is None
    assert [trial.value for trial in other.pieces().values()] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("moment", ["asked", "finishing"])
def test_interrupted_at_any_moment_it_holds_nothing(storage, monkeypatch, moment):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    ledger = ledger_of(storage)
    ask = ledger.study.ask

    def ask_and_interrupt():
        trial = ask()
        monkeypatch.setattr(ledger, "_read", interrupt)
        return trial

    if moment == "asked":
        monkeypatch.setattr(ledger.study, "ask", ask_and_interrupt)
        with pytest.raises(KeyboardInterrupt):
            ledger.claim()
    else:
        attempt = ledger.claim()
        monkeypatch.setattr(ledger.study, "tell", interrupt)
        with pytest.raises(KeyboardInterrupt):
            ledger.finish(attempt, value=1)
    monkeypatch.undo()
    ledger.release()
    assert ledger.held == {}
    assert ledger_of(storage).claim().index == 0


def test_pieces_of_the_silent_are_taken_by_others(storage, monkeypatch):
    now = 0.0
    monkeypatch.setattr(_ledger.time, "monotonic", lambda: now)
    killed, living, other = (ledger_of(storage, 2) for _ in range(3))
    killed.claim(), living.claim()
    assert other.claim() is None
    attempt = None
    while attempt is None:
        now += 20
        living.show_life()
        attempt = other.claim()
        assert now <= 80
    assert attempt.index == 0
    assert now == 80  # the first beyond a minute
    finish(other, attempt)
    assert other.claim() is None
    finish(living, next(iter(living.held.values())))
    assert other.is_done()


def test_failures_count_with_their_reason(storage):
    ledger = ledger_of(storage, 1)
    ledger.finish(ledger.claim(), error="ValueError: no")
    assert ledger.is_done()
    assert ledger.claim() is None
    assert ledger.pieces()[0].user_attrs["error"] == "ValueError: no"
    assert ledger.pieces()[0].value is None


def test_more_pieces_go_on(storage):
    for n_pieces in (2, 3):
        ledger = ledger_of(storage, n_pieces)
        while not ledger.is_done():
            finish(ledger, ledger.claim())
    assert [trial.value for trial in ledger.pieces().values()] == [0, 1, 2]


def test_two_that_take_the_last_at_once(storage):
    ledger, other = ledger_of(storage, 1), ledger_of(storage, 1)
    mine, theirs = ledger._ask(), other._ask()  # both saw that one was left
    assert mine.index == 0
    assert theirs is None
    finish(ledger, mine)
    assert other.is_done()
    larger = ledger_of(storage, 2)
    finish(larger, larger.claim())
    assert [trial.value for trial in larger.pieces().values()] == [0, 1]


def test_other_settings_are_refused(storage):
    ledger_of(storage, description={"seed": 0, "data": [1, 2]})
    ledger_of(storage, description={"seed": 0, "data": [1, 2]})
    with pytest.raises(ValueError, match=r"'study', .* seed was 0 and is 1\."):
        ledger_of(storage, description={"seed": 1, "data": [1, 2]})
