"""Files are whole or absent."""

import gzip
import hashlib

import pytest

from medvision.files import atomic_path, hashes_of, sha256, write_text


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


def test_a_zipped_file_is_also_known_by_what_is_inside(tmp_path):
    inside = bytes(range(256)) * 40
    fast, small = tmp_path / "fast.nii.gz", tmp_path / "small.nii.gz"
    fast.write_bytes(gzip.compress(inside, 1, mtime=0))
    small.write_bytes(gzip.compress(inside, 9, mtime=0))
    one, other = hashes_of(fast), hashes_of(small)
    assert one["sha256"] == sha256(fast) != other["sha256"]
    assert one["unpacked_sha256"] == other["unpacked_sha256"] == hashlib.sha256(inside).hexdigest()
    assert set(hashes_of(write_text(tmp_path / "a.json", "{}"))) == {"sha256"}
