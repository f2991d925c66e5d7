"""Resumable, verified downloads and safe extraction of archives."""

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
TEMPORARY_CODES = {408, 425, 429}  # other codes 4xx are final


class Remote(NamedTuple):
    """A file on servers: its name here, its URLs in order, and its checksum.

    The checksum is "sha256:" or "md5:" and the digest. MD5 finds damage, not forgery,
    but some authors publish nothing better.
    """

    filename: str
    urls: tuple[str, ...]
    checksum: str


def fetch_file(remote, folder, *, download_if_missing, n_retries, delay):
    """Return the path of a verified file in a folder, downloaded if it is missing.

    After a break, the first part stays as ``<filename>.part1``, and the next attempt or
    call requests the rest. Only a file with the right checksum gets its name.
    """
    path = folder / remote.filename
    if path.exists():
        checksum = _checksum(path, remote.checksum)
        if checksum == remote.checksum:
            return path
        warn(f"{path} is not used: its checksum is {checksum}, not {remote.checksum}.")
    if not download_if_missing:
        raise OSError(
            f"{path} is missing or damaged, and download_if_missing is False."
        )
    # One part per URL, as a server may answer with other content.
    parts = [folder / f"{path.name}.part{i + 1}" for i in range(len(remote.urls))]
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
        f"{path.name} cannot be downloaded ({'; '.join(errors)}). You may put a copy "
        f"at {path}; its checksum must be {remote.checksum}."
    )


def _download(url, part, expected, n_retries, delay):
    """Download a file with the expected checksum to ``part``, with retries."""
    for n_left in reversed(range(n_retries + 1)):
        is_resumed = part.exists()
        problem: Exception
        try:
            _append(url, part)
            checksum = _checksum(part, expected)
            if checksum == expected:
                return
            part.unlink()
            problem = OSError(f"the checksum is {checksum}, not {expected}")
            # Parts of different downloads do not fit together: start again. A whole
            # download would be the same again.
            is_final = not is_resumed
        except (OSError, HTTPException) as error:
            problem = error
            is_final = (
                isinstance(error, HTTPError)
                and 400 <= error.code < 500
                and error.code not in TEMPORARY_CODES
            )
        if is_final or not n_left:
            raise problem
        warn(f"Downloading {url} again: {problem or type(problem).__name__}.")
        time.sleep(delay)


def _append(url, part):
    """Download the rest of a file."""
    size = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "sk_dml"} | ({"Range": f"bytes={size}-"} if size else {})
    try:
        response = urlopen(Request(url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        error.close()
        if error.code == 416 and size:  # no bytes are left
            return
        raise
    with response:
        is_rest = response.status == 206
        content_range = response.headers.get("Content-Range", "")
        if is_rest and not content_range.startswith(f"bytes {size}-"):
            raise OSError(f"requested bytes from {size} on, got {content_range!r}")
        length = response.headers.get("Content-Length")
        with part.open("ab" if is_rest else "wb") as file:
            copyfileobj(response, file, 1 << 20)
    expected = None if length is None else int(length) + size * is_rest
    size = part.stat().st_size
    if expected is not None and size != expected:  # which urllib does not check
        raise OSError(f"it broke off after {size} of {expected} bytes")


def _checksum(path, like):
    """Return the checksum of a file, of the same kind as ``like``."""
    kind = like.partition(":")[0]
    with path.open("rb") as file:
        digest = hashlib.file_digest(
            file, lambda: hashlib.new(kind, usedforsecurity=False)
        )
    return f"{kind}:{digest.hexdigest()}"


def fetch_folder(remote, folder, member, **options):
    """Return ``folder / member``, extracted from an archive if it is missing.

    ``options`` are those of `fetch_file`. The archive, zip or tar, is extracted aside,
    its folder ``member`` moved in one step, and then removed: a folder that exists is
    complete. An OSError is raised if a path in the archive leads outside.
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
            if not target.is_dir():  # unless another process was faster
                raise
    archive.unlink(missing_ok=True)
    return target


def _extract(archive, folder):
    """Extract a zip or tar file; refuse paths and links that lead outside."""
    if not hasattr(tarfile, "data_filter"):
        raise RuntimeError("Extracting archives safely needs Python 3.11.4 or newer.")
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as file:
                for name in file.namelist():
                    # zipfile would write such a file to another path.
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
