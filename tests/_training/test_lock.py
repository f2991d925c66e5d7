"""One fit at a time in a directory, whatever becomes of the one before."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest

import sk_dml
from sk_dml._training import _checkpoint
from sk_dml._training._checkpoint import locked

ROOT = str(Path(sk_dml.__file__).parents[1])


def assert_in_use(directory):
    refused = pytest.raises(BlockingIOError, match="is in use by another fit")
    with refused as raised, locked(directory):
        raise AssertionError
    assert repr(str(directory)) in str(raised.value)


def test_one_at_a_time_however_the_directory_is_named(tmp_path):
    place, other = tmp_path / "new" / "one", tmp_path / "other"
    with locked(place), locked(other):
        link = tmp_path / "link"
        link.symlink_to(place)
        for name in (place, str(place), link, place / ".." / "one"):
            assert_in_use(name)
        thread = Thread(target=assert_in_use, args=[place])
        thread.start()
        thread.join()
        assert_in_use(place)  # the refused ones took nothing away
    with pytest.raises(KeyboardInterrupt), locked(place):
        raise KeyboardInterrupt
    with locked(place):
        pass
    assert os.listdir(place) == [_checkpoint.NAME]


def holding(directory, then):
    """Start a process that takes the lock and says so."""
    script = (
        "import os, signal, sys, time\n"
        "from sk_dml._training._lock import locked\n"
        "with locked(sys.argv[1]):\n"
        "    child = 0\n"
        f"    {then}\n"
        "    print(child, flush=True)\n"
        "    time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(directory)],
        env={**os.environ, "PYTHONPATH": ROOT, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    return process, int(process.stdout.readline())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("then", ["pass", "child = os.fork() or time.sleep(60)"])
def test_the_lock_of_a_killed_process_is_free(tmp_path, then):
    process, child = holding(tmp_path, then)
    try:
        assert_in_use(tmp_path)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        with locked(tmp_path):  # though a worker of the dead process may live on
            pass
    finally:
        if child:
            os.kill(child, signal.SIGKILL)
        process.stdout.close()


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def lockf(file, how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "lockf", lockf)
    message = r"cannot be locked \(No locks available\)"
    with pytest.warns(UserWarning, match=message), locked(tmp_path):
        assert_in_use(tmp_path)  # within the process it holds


def test_directories_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        message = r"checkpoint_dir='.*file.*' cannot be used"
        with pytest.raises(OSError, match=message), locked(place):
            raise AssertionError
