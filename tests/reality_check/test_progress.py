import time

from sk_dml.reality_check._progress import Progress, duration


def test_progress_tells_the_time_left(capsys):
    progress = Progress(1)
    progress.begin("Search: 14 trials", 4, 14, n_after=2)
    progress.start -= 20
    # Three of this process and two of another.
    progress.show("Circle: trial 3 of 7, best MAP@R 0.5", 9)
    progress.begin("Test: 2 repeats", 0, 2)
    progress.start -= 20
    progress.show("Circle: repeat 1 of 1", 1)
    assert capsys.readouterr().err.splitlines() == [
        "Search: 14 trials",
        "Circle: trial 3 of 7, best MAP@R 0.5; about 28 s left",
        "Test: 2 repeats",
        "Circle: repeat 1 of 1; about 20 s left",
    ]


def test_trials_that_a_time_limit_leaves_out_take_no_time(capsys):
    progress = Progress(1)
    progress.begin("Search", 0, 1000, n_after=3, deadline=time.time() + 7)
    progress.start -= 10
    progress.show("Circle: trial 1 of 1000", 1)
    assert "; about 37 s left" in capsys.readouterr().err


def test_waiting_is_told_once_and_takes_no_time(capsys):
    progress = Progress(1)
    progress.begin("Search", 0, 2)
    progress.start -= 10
    for _ in range(120):
        progress.start -= 0.5
        progress.wait(0.5)
    progress.show("Circle: trial 1 of 2", 1)
    progress.wait(0.5)
    waiting = "Waiting for what other processes run; if one was killed, for 1 min 00 s"
    assert capsys.readouterr().err.splitlines() == [
        "Search",
        f"{waiting} at most",
        "Circle: trial 1 of 2; about 10 s left",
        f"{waiting} at most",
    ]


def test_progress_is_silent_where_nothing_is_left(capsys):
    Progress(1).begin("Search", 5, 5)
    progress = Progress(0)
    progress.begin("Search", 0, 5)
    progress.show("nothing", 1)
    progress.close()
    assert capsys.readouterr().err == ""


def test_durations():
    assert duration(7500) == "2 h 05 min"
    assert duration(200) == "3 min 20 s"
    assert duration(12) == "12 s"
