import builtins
import logging

import optuna
import pytest

from sk_dml.reality_check import RealityCheck
from sk_dml.reality_check._storage import create_study, hide_password, open_storage


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "'nonsense' cannot be opened: ArgumentError"),
        ("sqlite:////no/such/folder/check.db", "OperationalError.*unable to open"),
        ("other://me:secret@host/check", r"'other://me:\*\*\*@host/check'"),
    ],
)
def test_storages_that_cannot_be_opened(url, message):
    with pytest.raises(ValueError, match=message) as error:
        open_storage(url)
    assert "secret" not in str(error.value)
    assert error.value.__cause__ is None


def test_files_that_are_no_database(tmp_path):
    (tmp_path / "check.db").write_text("It is none. " * 100)
    with pytest.raises(ValueError, match="not a database"):
        open_storage(f"sqlite:///{tmp_path}/check.db")


def test_passwords_are_hidden():
    assert hide_password("mysql://me:a@b:c@host/x") == "mysql://me:***@host/x"
    url = "postgresql:///x?user=me&Password={}&ssl=on"
    assert hide_password(url.format("a:b@c")) == url.format("***")
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


def test_optuna_is_asked_for_where_it_is_missing(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] == "optuna":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(
        "sk_dml.reality_check._storage.importlib.import_module",
        lambda name: without(name),
    )
    with pytest.raises(ImportError, match=r"pip install 'sk-dml\[reality-check\]'"):
        RealityCheck().run([[0.0]], [0])
