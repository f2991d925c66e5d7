import hashlib
import io
import socket
import tarfile
import zipfile

import pytest

from sk_dml.datasets._download import Remote, fetch_file, fetch_folder

CONTENT = bytes(range(256)) * 4000  # more than a buffer


def checksum(content, kind="sha256"):
    return f"{kind}:{hashlib.new(kind, content).hexdigest()}"


@pytest.fixture
def fetch(server, tmp_path):
    server.files["file.bin"] = CONTENT

    def fetch(*, urls=None, expected=CONTENT, kind="sha256", n_retries=3, **options):
        remote = Remote(
            "file.bin",
            (server.url + "file.bin",) if urls is None else urls,
            checksum(expected, kind),
        )
        options = {"download_if_missing": True, "delay": 0.0} | options
        return fetch_file(remote, tmp_path, n_retries=n_retries, **options)

    return fetch


@pytest.mark.parametrize("kind", ["md5", "sha256"])
def test_downloads_once(fetch, server, tmp_path, kind):
    path = fetch(kind=kind)
    assert path.read_bytes() == CONTENT
    assert [p.name for p in tmp_path.iterdir()] == ["file.bin"]
    assert fetch(kind=kind, download_if_missing=False) == path
    assert len(server.requests) == 1


def test_a_break_is_resumed(fetch, server):
    server.faults = ["break", "break"]
    with pytest.warns(UserWarning, match="broke off after") as record:
        assert fetch().read_bytes() == CONTENT
    assert len(record) == 2
    assert record[0].filename == __file__
    half, quarter = len(CONTENT) // 2, len(CONTENT) // 4
    assert [r for _, r in server.requests] == [
        None,
        f"bytes={half}-",
        f"bytes={half + quarter}-",
    ]
    assert sum(server.sent) == len(CONTENT)


def test_the_next_call_resumes(fetch, server, tmp_path):
    server.faults = ["break"]
    with pytest.raises(OSError, match=r"file\.bin cannot be downloaded.*broke off"):
        fetch(n_retries=0)
    assert [p.name for p in tmp_path.iterdir()] == ["file.bin.part1"]
    assert fetch(n_retries=0).read_bytes() == CONTENT
    assert server.requests[-1][1] == f"bytes={len(CONTENT) // 2}-"


def test_a_break_without_a_length_fails_by_checksum(fetch, server):
    server.habits.add("no length")
    server.faults = ["break"]
    with pytest.raises(OSError, match="checksum"):
        fetch()
    assert fetch().read_bytes() == CONTENT


@pytest.mark.parametrize("fault", ["wrong", "truncate"])
def test_wrong_content_is_not_kept(fetch, server, tmp_path, fault):
    server.faults = [fault] * 9
    with pytest.raises(OSError, match="the checksum is sha256:") as error:
        fetch()
    assert checksum(CONTENT) in str(error.value)
    assert str(tmp_path / "file.bin") in str(error.value)
    assert not list(tmp_path.iterdir())
    assert len(server.requests) == 1  # a second whole download would be the same


def test_next_url_is_tried(fetch, server):
    server.files["other.bin"] = CONTENT
    server.faults = ["wrong"]
    urls = tuple(server.url + name for name in ("file.bin", "missing.bin", "other.bin"))
    assert fetch(urls=urls).read_bytes() == CONTENT
    assert [p for p, _ in server.requests] == [
        "/file.bin",
        "/missing.bin",
        "/other.bin",
    ]


def test_the_next_url_keeps_parts_of_others(fetch, server, tmp_path):
    server.files["other.bin"] = b"Try again later."
    urls = (server.url + "file.bin", server.url + "other.bin")
    server.faults = ["break"]
    with pytest.raises(OSError, match=r"broke off.*the checksum is"):
        fetch(urls=urls, n_retries=0)
    assert fetch(urls=urls).read_bytes() == CONTENT
    assert sum(server.sent) == len(CONTENT) + len(server.files["other.bin"])
    assert [p.name for p in tmp_path.iterdir()] == ["file.bin"]


def test_parts_are_removed(fetch, server, tmp_path):
    server.files["other.bin"] = CONTENT
    server.faults = ["break"]
    fetch(urls=(server.url + "file.bin", server.url + "other.bin"), n_retries=0)
    assert [p.name for p in tmp_path.iterdir()] == ["file.bin"]


def test_error_names_every_url(fetch, server):
    urls = (server.url + "a", server.url + "b")
    with pytest.raises(OSError, match="404") as error:
        fetch(urls=urls)
    assert all(url in str(error.value) for url in urls)
    assert len(server.requests) == 2  # a missing file is not requested again


@pytest.mark.parametrize("code", [429, 500, 503])
def test_busy_server_is_asked_again(fetch, server, code):
    server.faults = [code, code]
    with pytest.warns(UserWarning, match=str(code)):
        assert fetch(n_retries=2).read_bytes() == CONTENT
    server.faults = [code] * 3
    (fetch()).unlink()
    with (
        pytest.warns(UserWarning, match=str(code)),
        pytest.raises(OSError, match=str(code)),
    ):
        fetch(n_retries=2)


def test_no_server(fetch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/file.bin"
        with (
            pytest.warns(UserWarning, match="again") as record,
            pytest.raises(OSError, match="refused"),
        ):
            fetch(urls=(url,), n_retries=2)
    assert len(record) == 2


def test_silent_server(fetch, server, monkeypatch):
    monkeypatch.setattr("sk_dml.datasets._download.TIMEOUT", 0.1)
    server.faults = ["hang"]
    with pytest.warns(UserWarning, match="timed out"):
        assert fetch().read_bytes() == CONTENT


def test_server_without_http(fetch, server):
    server.faults = ["babble"]
    with pytest.warns(UserWarning, match="What"):
        assert fetch().read_bytes() == CONTENT


def test_server_without_ranges(fetch, server, tmp_path):
    (tmp_path / "file.bin.part1").write_bytes(CONTENT[:100])
    server.faults = ["ignore range"]
    assert fetch().read_bytes() == CONTENT
    assert server.requests == [("/file.bin", "bytes=100-")]


def test_wrong_range(fetch, server, tmp_path):
    (tmp_path / "file.bin.part1").write_bytes(CONTENT[:100])
    server.faults = ["shift"]
    with pytest.warns(UserWarning, match="requested bytes from 100 on"):
        assert fetch().read_bytes() == CONTENT


@pytest.mark.parametrize("size", [100, len(CONTENT), 2 * len(CONTENT)])
def test_a_part_of_another_file_is_discarded(fetch, server, tmp_path, size):
    (tmp_path / "file.bin.part1").write_bytes(b"x" * size)
    with pytest.warns(UserWarning, match="checksum"):
        assert fetch().read_bytes() == CONTENT
    assert server.requests[-1][1] is None


def test_a_complete_part_is_used(fetch, server, tmp_path):
    (tmp_path / "file.bin.part1").write_bytes(CONTENT)
    assert fetch().read_bytes() == CONTENT
    assert not sum(server.sent)


def test_damaged_file_is_replaced(fetch, tmp_path):
    (tmp_path / "file.bin").write_bytes(CONTENT[:-1])
    with pytest.warns(UserWarning, match=r"file\.bin is not used: its checksum is"):
        assert fetch().read_bytes() == CONTENT


def test_download_can_be_forbidden(fetch, server, tmp_path):
    with pytest.raises(OSError, match="download_if_missing is False"):
        fetch(download_if_missing=False)
    (tmp_path / "file.bin").write_bytes(b"damaged")
    with (
        pytest.warns(UserWarning, match="not used"),
        pytest.raises(OSError, match="missing or damaged"),
    ):
        fetch(download_if_missing=False)
    assert not server.requests


def tar(members, mode="w:gz"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname, content = tarfile.SYMTYPE, content, b""
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zipped(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
def unpack(tmp_path):
    home = tmp_path / "home"
    home.mkdir()

    def unpack(content):
        (home / "archive").write_bytes(content)
        remote = Remote("archive", (), checksum(content, "md5"))
        return fetch_folder(
            remote, home, "data", download_if_missing=False, n_retries=0, delay=0
        )

    return unpack


@pytest.mark.parametrize(
    "pack",
    [tar, zipped, lambda m: tar(m, "w"), lambda m: tar(m, "w:xz")],
    ids=["gz", "zip", "plain", "xz"],
)
def test_archive_becomes_a_folder(unpack, pack):
    folder = unpack(pack({"data/a/1.txt": b"one", "other/2.txt": b"two"}))
    assert (folder / "a" / "1.txt").read_bytes() == b"one"
    assert [p.name for p in folder.parent.iterdir()] == ["data"]  # and nothing else
    assert unpack(b"not opened") == folder


@pytest.mark.parametrize(
    "content",
    [
        tar({"data/1": b"", "../evil": b"evil"}),
        tar({"data/1": b"", "data/../../evil": b"evil"}),
        tar({"data/link": "../..", "data/link/evil": b"evil"}),
        tar({"data/link": "/etc"}),
        zipped({"data/1": b"", "../evil": b"evil"}),
        zipped({"data/1": b"", "data/../../evil": b"evil"}),
        zipped({"data/1": b"", "/evil": b"evil"}),
    ],
    ids=["tar ..", "tar /../..", "link", "link /etc", "zip ..", "zip /../..", "zip /"],
)
def test_no_path_leads_outside(unpack, tmp_path, content):
    with pytest.raises(OSError, match=r"cannot be extracted.*(outside|link)"):
        unpack(content)
    names = [p.name for p in tmp_path.rglob("*")]
    assert sorted(names) == ["archive", "home"]


@pytest.mark.parametrize("pack", [tar, zipped])
def test_damaged_archive(unpack, tmp_path, pack):
    content = pack({"data/1": bytes(range(256)) * 400})
    with pytest.raises(OSError, match="cannot be extracted"):
        unpack(content[: len(content) // 2])
    assert not (tmp_path / "home" / "data").exists()


def test_other_archive(unpack):
    with pytest.raises(OSError, match="holds no folder data"):
        unpack(tar({"others/1": b""}))


def test_another_process_may_be_faster(unpack, monkeypatch, tmp_path):
    target = tmp_path / "home" / "data"

    def replace(source, destination):
        target.mkdir()
        (target / "theirs").touch()
        raise OSError("not empty")

    monkeypatch.setattr("sk_dml.datasets._download.os.replace", replace)
    assert [p.name for p in unpack(tar({"data/1": b""})).iterdir()] == ["theirs"]
