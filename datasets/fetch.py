"""Files from where a data set is published, checked against the MD5 that is published with them.

Knows nothing of any data set.
"""

from __future__ import annotations

import hashlib
import urllib.request
from pathlib import Path

from medvision.errors import CasesError
from medvision.files import atomic_path
from medvision.progress import track


def fetch(url: str, path: Path, md5: str, page: str) -> Path:
    """Download to `path`, whole or not at all, unless it is there; check its MD5 and return it.

    Parameters
    ----------
    url : str
    path : Path
        Where the file is or will be.
    md5 : str
        In hex, as published.
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
        except OSError as error:
            raise CasesError(
                f"{url} cannot be reached ({error}). Fetch {path.name} from {page} by other means "
                f"and put it into {path.parent}."
            ) from None
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if found != md5:
        raise CasesError(f"{path} has MD5 {found}, not {md5}: delete it and try again.")
    return path


def download(url: str, path: Path) -> None:
    """Download to `path`, whole or not at all."""
    with urllib.request.urlopen(url, timeout=60) as reply, atomic_path(path) as part:
        megabytes = int(reply.headers.get("Content-Length", 0)) >> 20
        chunks = iter(lambda: reply.read(1 << 20), b"")
        with part.open("wb") as file:
            for chunk in track(chunks, f"Download {path.name}", megabytes or None):
                file.write(chunk)
