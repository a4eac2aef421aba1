"""Files are whole or absent."""

import hashlib

import pytest

from medvision.files import atomic_path, sha256, write_text


def test_a_failed_write_leaves_nothing(tmp_path):
    def fail():
        with atomic_path(tmp_path / "x.nii.gz") as part:
            part.write_bytes(b"half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_what_was_there(tmp_path):
    path = write_text(tmp_path / "a.txt", "old")
    with pytest.raises(ValueError, match="no"), atomic_path(path) as part:
        part.write_text("new")
        raise ValueError("no")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_the_temporary_name_keeps_its_suffixes(tmp_path):
    with atomic_path(tmp_path / "mask.nii.gz") as part:
        assert part.name.endswith(".nii.gz")
        part.write_bytes(b"whole")
    assert (tmp_path / "mask.nii.gz").read_bytes() == b"whole"


def test_hash_is_sha256(tmp_path):
    path = write_text(tmp_path / "a.txt", "abc")
    assert sha256(path) == hashlib.sha256(b"abc").hexdigest()
