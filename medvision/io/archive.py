"""Zip files of scans: unpacked into a temporary folder, within limits, nothing outside it.

A scan inside is named by the path of its zip and its own path inside, as if the zip were a
folder: ``scans.zip/sub-01/T1w.nii.gz``. Knows nothing of what the files hold.
"""

from __future__ import annotations

import io
import os
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from medvision.errors import DecodeError, MedvisionError

MAX_MEMBERS = 200_000
MAX_TOTAL = 64 << 30  # bytes, unpacked
MAX_RATIO = 200  # unpacked bytes a packed byte, of members beyond SMALL
SMALL = 1 << 20  # bytes
CHUNK = 1 << 20  # bytes written at once
MAX_ENTRY = 1000  # bytes of a directory's entry, on average; those of scans have about 100
ENCRYPTED = 0x1  # general purpose bit 0 (APPNOTE.TXT 4.4.4)
DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    ValueError,
)


def is_archive(path: Path) -> bool:
    """Tell by its name whether a file is a zip."""
    return path.suffix.lower() == ".zip"


def archive_of(path: Path) -> Path | None:
    """Return the zip that a path is, or leads into; None when it is an ordinary path."""
    for place in (path, *path.parents):
        if is_archive(place):
            return place if os.path.isfile(place) else None
    return None


def check_upload(path: Path, *, members: int = 10_000, total: int = 8 << 30) -> int:
    """Refuse a zip from elsewhere before anything of it is unpacked, from its directory alone.

    What a member unpacks to is never more than the directory says, for `zipfile` stops there.

    Parameters
    ----------
    path : Path
        The zip, whatever it is called.
    members : int
        Most files and folders.
    total : int
        Most bytes, unpacked.

    Returns
    -------
    int
        Bytes that it unpacks to.

    Raises
    ------
    DecodeError
        When it goes beyond a limit, which the message names, is damaged or encrypted, or holds
        links, members that lead outside, or one twice.
    """
    most = f"an upload may hold {members:,} files and folders"
    try:
        with Bounded(path, members * MAX_ENTRY) as file, zipfile.ZipFile(file) as source:
            found = source.infolist()
            end = file.seek(0, io.SEEK_END)
    except DirectoryTooLarge:
        raise DecodeError(f"{path} has too large a directory: {most}.") from None
    except DAMAGED:
        raise DecodeError(f"{path} is cut short or damaged, or no zip file.") from None
    except OSError as error:
        raise DecodeError(f"{path} cannot be read: {error.strerror or error}.") from None
    if len(found) > members:
        raise DecodeError(f"{path} holds {len(found):,} files and folders: {most}.")
    size = sum(member.file_size for member in found)
    if size > total:
        raise DecodeError(
            f"{path} unpacks to {in_units(size)}: an upload may unpack to {in_units(total)}."
        )
    places = [place_of(path, member) for member in found]
    files = [str(p) for p, member in zip(places, found, strict=True) if not member.is_dir()]
    if len(set(files)) < len(files):
        raise DecodeError(f"{path} holds a file twice.")
    if any(m.header_offset < 0 or m.header_offset + m.compress_size > end for m in found):
        raise DecodeError(f"{path} is cut short or damaged: its files lie beyond its ends.")
    return size


class DirectoryTooLarge(Exception):
    """A zip's directory would take more memory than its files deserve."""


class Bounded(io.FileIO):
    """A file of which nobody reads more than `most` bytes at once, as `zipfile` does a directory.

    A zip of 1 GB may have a directory of 20 million entries, which would take 10 GB in memory.
    """

    def __init__(self, path: Path, most: int) -> None:
        super().__init__(path)
        self.most = most

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as a file does."""
        if size is not None and size > self.most:
            raise DirectoryTooLarge
        return super().read(-1 if size is None else size) or b""


def in_units(size: int) -> str:
    """Return bytes in words."""
    return f"{size / (1 << 30):.3g} GB" if size >= 1 << 30 else f"{size / (1 << 20):.3g} MB"


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """Unpack a zip, or what it holds at a path inside it, into a folder that lives for the block.

    Zips inside the zip stay as they are. In errors raised inside the block, the temporary folder
    is given the zip's name.

    Parameters
    ----------
    path : Path
        ``scans.zip``, or ``scans.zip/folder/file`` to unpack nothing but that.

    Yields
    ------
    Path
        Where `path` lies now: a folder, or the file.

    Raises
    ------
    DecodeError
        When the zip is damaged or encrypted, holds a member that would lie outside or there twice,
        or is larger than MAX_MEMBERS, MAX_TOTAL, MAX_RATIO or the free disk allow.
    """
    archive = archive_of(path)
    if archive is None:
        raise DecodeError(f"{path} is no zip file, and does not lie in one.")
    inside = path.relative_to(archive)
    with tempfile.TemporaryDirectory(prefix="medvision-") as name:
        folder = Path(name).resolve()
        try:
            unpack(archive, folder, inside)
            yield folder / inside
        except MedvisionError as error:
            raise type(error)(str(error).replace(str(folder), str(archive))) from None


def unpack(archive: Path, folder: Path, inside: Path) -> None:
    """Write the members of a zip that lie at or below `inside` into `folder`."""
    total, limit = 0, min(MAX_TOTAL, shutil.disk_usage(folder).free)
    try:
        with zipfile.ZipFile(archive) as source:
            members = source.infolist()
            if len(members) > MAX_MEMBERS:
                raise DecodeError(f"{archive} holds more than {MAX_MEMBERS} files.")
            places = {member: place_of(archive, member) for member in members}
            for member, place in places.items():
                if member.is_dir() or not Path(place).is_relative_to(inside):
                    continue
                target = folder / place
                if target.exists():
                    raise DecodeError(f"{archive} holds {place} twice.")
                target.parent.mkdir(parents=True, exist_ok=True)
                total += write_member(source, member, archive, target, limit - total)
    except RuntimeError:  # what zipfile says of an encrypted member whose flag does not tell
        raise DecodeError(f"{archive} is encrypted: unpack it with its password first.") from None
    except DAMAGED:
        raise DecodeError(f"{archive} is cut short or damaged, or no zip file.") from None
    except OSError as error:
        raise DecodeError(f"{archive} cannot be unpacked: {error.strerror or error}.") from None


def place_of(archive: Path, member: zipfile.ZipInfo) -> PurePosixPath:
    """Return where a member lies below the folder.

    Raises
    ------
    DecodeError
        When it would lie elsewhere, is a link, or is encrypted.
    """
    name = member.orig_filename.replace("\\", "/")
    place = PurePosixPath(name)
    drive = len(name) > 1 and name[1] == ":"
    if place.is_absolute() or ".." in place.parts or drive or "\0" in name or not place.parts:
        raise DecodeError(f"{archive} holds a file that would lie outside of it: {name!r}.")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise DecodeError(f"{archive} holds a link, {name!r}: only files and folders are unpacked.")
    if member.flag_bits & ENCRYPTED:
        raise DecodeError(f"{archive} is encrypted: unpack it with its password first.")
    return place


def write_member(
    source: zipfile.ZipFile, member: zipfile.ZipInfo, archive: Path, target: Path, limit: int
) -> int:
    """Write one member, counting what comes out, whatever its header promises; return bytes."""
    written = 0
    with source.open(member) as packed, target.open("xb") as file:
        while chunk := packed.read(CHUNK):
            written += len(chunk)
            if written > limit:
                raise DecodeError(
                    f"{archive} unpacks to more than there is room for: "
                    f"{MAX_TOTAL >> 30} GB, or the free space of the temporary folder."
                )
            if written > SMALL and written > MAX_RATIO * member.compress_size:
                raise DecodeError(
                    f"{archive}: {member.filename} unpacks to more than {MAX_RATIO} times its "
                    "size, as no scan does; unpack it yourself if you trust it."
                )
            file.write(chunk)
    return written
