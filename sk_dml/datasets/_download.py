"""Files from the network: downloaded in pieces, verified, and extracted safely."""

import hashlib
import logging
import os
import tarfile
import time
import zipfile
import zlib
from http.client import HTTPException
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryDirectory
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from sk_dml._utils._warn import warn

logger = logging.getLogger(__name__)

TIMEOUT = 60.0  # seconds without a byte
WORTH_A_RETRY = {408, 425, 429}  # of the codes 4xx, which else are final


class Remote(NamedTuple):
    """A file that others serve.

    Parameters
    ----------
    filename : str
        What to call it here.
    urls : tuple of str
        Where it is, in the order to try.
    checksum : str
        Of its content: "sha256:" or "md5:" and the digest. MD5 finds damage, but does
        not keep out a forger; it stands where the data's authors have nothing better.
    """

    filename: str
    urls: tuple[str, ...]
    checksum: str


def fetch_file(remote, folder, *, download_if_missing, n_retries, delay):
    """Find a file in a folder, or download it there.

    What was downloaded before a break stays as ``<filename>.part1``; the next attempt
    or the next call asks for the rest. Only a file of the right checksum gets its name.

    Parameters
    ----------
    remote : Remote
        What to fetch.
    folder : Path
        An existing folder.
    download_if_missing : bool
        Whether to download.
    n_retries : int
        How often to try again after a break.
    delay : float
        Seconds to wait before that.

    Returns
    -------
    Path
        The verified file.

    Raises
    ------
    OSError
        If the file is missing and must not be, or cannot be, downloaded.
    """
    path = folder / remote.filename
    if path.exists():
        found = _checksum(path, remote.checksum)
        if found == remote.checksum:
            return path
        warn(f"{path} is not used: its checksum is {found}, not {remote.checksum}.")
    if not download_if_missing:
        raise OSError(
            f"{path} is missing or damaged, and download_if_missing is False."
        )
    # A piece for every URL: what one server says instead spoils no other's.
    parts = [
        folder / f"{remote.filename}.part{n}" for n in range(1, len(remote.urls) + 1)
    ]
    errors = []
    for url, part in zip(remote.urls, parts, strict=True):
        logger.info("Downloading %s to %s", url, path)
        try:
            _download(url, part, remote.checksum, n_retries, delay)
        except (OSError, HTTPException) as error:
            errors.append(f"{url}: {error or type(error).__name__}")
        else:
            os.replace(part, path)
            for other in parts:
                other.unlink(missing_ok=True)
            return path
    raise OSError(
        f"{remote.filename} cannot be downloaded ({'; '.join(errors)}). If you have it "
        f"from elsewhere, put it at {path}; its checksum must be {remote.checksum}."
    )


def _download(url, part, checksum, n_retries, delay):
    for n_left in reversed(range(n_retries + 1)):
        in_pieces = part.exists()
        problem: Exception
        try:
            _append(url, part)
            found = _checksum(part, checksum)
            if found == checksum:
                return
            part.unlink()
            problem = OSError(f"the checksum is {found}, not {checksum}")
            # Two downloads of the same file at a time, or a new file behind an old
            # URL, spoil what is put together from pieces: worth a fresh start.
            is_final = not in_pieces
        except (OSError, HTTPException) as error:
            problem = error
            is_final = (
                isinstance(error, HTTPError)
                and 400 <= error.code < 500
                and error.code not in WORTH_A_RETRY
            )
        if is_final or not n_left:
            raise problem
        warn(f"Downloading {url} again: {problem or type(problem).__name__}.")
        time.sleep(delay)


def _append(url, part):
    """Download what a file lacks."""
    size = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "sk_dml"} | ({"Range": f"bytes={size}-"} if size else {})
    try:
        response = urlopen(Request(url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        error.close()
        if error.code == 416 and size:  # there is nothing behind the last byte
            return
        raise
    with response:
        goes_on = response.status == 206
        place = response.headers.get("Content-Range", "")
        if goes_on and not place.startswith(f"bytes {size}-"):
            raise OSError(f"bytes from {size} on were asked for, got {place!r}")
        length = response.headers.get("Content-Length")
        with part.open("ab" if goes_on else "wb") as file:
            copyfileobj(response, file, 1 << 20)
    expected = None if length is None else int(length) + size * goes_on
    found = part.stat().st_size
    if expected is not None and found != expected:  # urllib takes that for the end
        raise OSError(f"it broke off after {found} of {expected} bytes")


def _checksum(path, like):
    """Compute the checksum of a file, of the same kind as another one."""
    kind = like.partition(":")[0]
    with path.open("rb") as file:
        digest = hashlib.file_digest(
            file, lambda: hashlib.new(kind, usedforsecurity=False)
        )
    return f"{kind}:{digest.hexdigest()}"


def fetch_folder(remote, folder, member, **options):
    """Find a folder, or make it from an archive, downloaded where it is missing.

    The archive is extracted aside, moved in one step, and then removed: a folder that
    is there is whole.

    Parameters
    ----------
    remote : Remote
        The archive: a zip file, or a tar file of any compression.
    folder : Path
        An existing folder, for both.
    member : str
        The folder at the archive's root that is wanted.
    **options : dict
        Given to `fetch_file`.

    Returns
    -------
    Path
        The folder ``folder / member``.

    Raises
    ------
    OSError
        If the archive cannot be had, is damaged, lacks the folder or holds a path that
        leads outside.
    """
    target = folder / member
    if target.is_dir():
        return target
    archive = fetch_file(remote, folder, **options)
    with TemporaryDirectory(prefix=f".{member}_", dir=folder) as name:
        _extract(archive, Path(name))
        extracted = Path(name) / member
        if not extracted.is_dir():
            raise OSError(f"{archive} holds no folder {member}.")
        try:
            os.replace(extracted, target)
        except OSError:
            if not target.is_dir():  # else another process was faster
                raise
    archive.unlink(missing_ok=True)
    return target


def _extract(archive, folder):
    if not hasattr(tarfile, "data_filter"):
        raise RuntimeError("To extract archives safely takes Python 3.11.4 or newer.")
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as file:
                for name in file.namelist():
                    # zipfile itself would put such a file somewhere else, silently.
                    if not (folder / name).resolve().is_relative_to(folder.resolve()):
                        raise OSError(f"{name!r} leads outside")
                file.extractall(folder)
        else:
            with tarfile.open(archive) as file:
                file.extractall(folder, filter="data")
    except (
        OSError,
        EOFError,
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise OSError(f"{archive} cannot be extracted: {error}.") from error
