"""Files from where a data set is published, checked against an MD5 where one is published.

Knows nothing of any data set.
"""

from __future__ import annotations

import hashlib
import tarfile
import tempfile
import urllib.request
import zlib
from http.client import HTTPException
from pathlib import Path

from medvision.errors import CasesError
from medvision.files import atomic_path
from medvision.progress import track


def fetch(url: str, path: Path, md5: str, page: str) -> Path:
    """Download to `path`, whole or not at all, unless it is there; check its MD5 and return it.

    Without an MD5 the file is as its source sends it today: its length alone is checked, when it
    is downloaded.

    Parameters
    ----------
    url : str
    path : Path
        Where the file is or will be.
    md5 : str
        In hex, as published; empty when none is.
    page : str
        Where a person finds the file by other means.

    Raises
    ------
    CasesError
        When the source cannot be reached, or the checksum differs.
    """
    if not path.exists():
        try:
            download(url, path)
        except (OSError, HTTPException) as error:
            raise CasesError(
                f"{url} cannot be reached ({error}). Fetch {path.name} from {page} by other means "
                f"and put it into {path.parent}."
            ) from None
    if not md5:
        return path
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if found != md5:
        raise CasesError(f"{path} has MD5 {found}, not {md5}: delete it and try again.")
    return path


def download(url: str, path: Path) -> None:
    """Download to `path`, whole or not at all."""
    with urllib.request.urlopen(url, timeout=60) as reply, atomic_path(path) as part:
        said = int(reply.headers.get("Content-Length", 0))  # bytes; 0 when the source is silent
        chunks = iter(lambda: reply.read(1 << 20), b"")
        with part.open("wb") as file:
            for chunk in track(chunks, f"Download {path.name}", said >> 20 or None):
                file.write(chunk)
        received = part.stat().st_size
        if said and received != said:
            raise ConnectionError(f"it broke off after {received} of {said} bytes")


def unpack(archive: Path, target: Path) -> Path:
    """Unpack a tar archive to the folder `target`, whole or not at all, unless it is there.

    Parameters
    ----------
    archive : Path
        Holds the files themselves, or one folder with the name of `target` around them.
    target : Path

    Raises
    ------
    CasesError
        When the archive is damaged, or one of its names lies outside of the folder.
    """
    if target.is_dir():
        return target
    with tempfile.TemporaryDirectory(prefix=".part-", dir=target.parent) as part:
        inside = Path(part) / "inside"
        try:
            with tarfile.open(archive) as tar:
                tar.extractall(inside, filter="data")
        except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
            raise CasesError(f"{archive} cannot be unpacked: {error}.") from None
        around = inside / target.name
        (around if around.is_dir() else inside).replace(target)
    return target
