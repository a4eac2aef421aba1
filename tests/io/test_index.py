"""What is kept between walks: enough, no identity, and never in the way."""

import os
import sqlite3

import nibabel as nib
import numpy as np
import pytest
from dicom_phantom import write_series

from medvision.io import find_studies, folder, read_study
from medvision.io.dicom.frames import read_frames
from medvision.io.pseudonym import Pseudonyms
from medvision.io.stored import frames_of, plain, plain_frames, value_of
from medvision.volume import Volume

SCAN = Volume(np.arange(4 * 4 * 3, dtype=np.int16).reshape(1, 4, 4, 3), np.eye(4))


def dated(data, k):
    data.StudyDate = "20190703"
    data.IssuerOfPatientID = "HOSPITAL"


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Two studies, and a folder for indexes."""
    monkeypatch.setenv("MEDVISION_INDEX", str(tmp_path / "index"))
    write_series(tmp_path / "scans" / "a", SCAN, change=dated)
    write_series(tmp_path / "scans" / "b", SCAN, number=7, change=dated)
    return tmp_path / "scans"


@pytest.fixture
def opened(monkeypatch):
    """The names of the files whose facts are read anew."""
    names = []
    read = folder.facts_of

    def watched(entry, secret):
        names.append(entry.path.name)
        return read(entry, secret)

    monkeypatch.setattr(folder, "facts_of", watched)
    return names


def test_a_second_walk_opens_only_what_changed(tree, opened):
    first = find_studies(tree)
    assert len(opened) == 6
    opened.clear()
    assert find_studies(tree) == first
    assert opened == []
    os.utime(tree / "a" / "IM0001", ns=(1, 1))
    assert find_studies(tree) == first
    assert opened == ["IM0001"]


def test_what_is_gone_is_forgotten(tree, tmp_path):
    find_studies(tree)
    middle = next(p for p in (tree / "a").iterdir() if read_frames(p)[0].position[2] == 1)
    middle.unlink()
    for path in (tree / "b").iterdir():
        path.unlink()
    [ref] = find_studies(tree)
    assert len(ref.series[0].files) == 2
    assert ref.series[0].spacing == (1, 1, 2)
    [path] = (tmp_path / "index").glob("*.sqlite")
    base = sqlite3.connect(path)
    counts = [base.execute(f"SELECT COUNT(*) FROM {t}").fetchone()[0] for t in ("files", "studies")]
    base.close()
    assert counts == [2, 1]


def test_the_index_holds_no_identity(tree, tmp_path):
    find_studies(tree)
    [path] = (tmp_path / "index").glob("*.sqlite")
    assert path.stat().st_mode & 0o077 == 0
    base = sqlite3.connect(path)
    dump = "\n".join(
        str(row)
        for table in ("about", "files", "bodies", "studies")
        for row in base.execute(f"SELECT * FROM {table}")
    )
    base.close()
    for word in ("DOE", "JANE", "PID-4711-X", "19700101", "20190703", "HOSPITAL"):
        assert word not in dump
    assert "P-" in dump


def test_pseudonyms_stay_with_their_index(tree, tmp_path, monkeypatch):
    mine = {ref.patient for ref in find_studies(tree)}
    assert len(mine) == 1
    assert {ref.patient for ref in find_studies(tree)} == mine
    monkeypatch.setenv("MEDVISION_INDEX", str(tmp_path / "other"))
    assert {ref.patient for ref in find_studies(tree)} != mine


@pytest.mark.parametrize("harm", ["text", "version", "body", "one", "two", "bytes"])
def test_a_damaged_index_is_made_again(tree, tmp_path, harm):
    first = find_studies(tree)
    [path] = (tmp_path / "index").glob("*.sqlite")
    if harm == "text":
        path.write_text("no database, but long enough to be read as one" * 100)
    else:
        base = sqlite3.connect(path)
        change = {
            "version": "UPDATE about SET value = 'old' WHERE name = 'version'",
            "body": "UPDATE bodies SET body = '[1, {\"Frame\": 2}, 3, 4]'",
            "one": "UPDATE files SET light = '{' WHERE rowid = 1",
            "two": "UPDATE files SET light = light || ',' || light WHERE rowid = 1",
            "bytes": "UPDATE files SET light = X'FF00' WHERE rowid = 1",
        }
        base.execute(change[harm])
        base.execute("DELETE FROM studies")
        base.commit()
        base.close()
    again = find_studies(tree)
    assert [ref.series for ref in again] == [ref.series for ref in first]


def test_without_a_place_for_it_all_goes_on(tree, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MEDVISION_INDEX", str(tmp_path / "file"))
    assert len(find_studies(tree)) == 2
    monkeypatch.setenv("MEDVISION_INDEX", "off")
    assert len(find_studies(tree)) == 2
    assert len(find_studies(tree, index=False)) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "scans"]


def test_the_tree_may_be_named_in_another_way(tree, monkeypatch):
    find_studies(tree)
    monkeypatch.chdir(tree.parent)
    [first, _] = find_studies("scans")
    assert str(first.path) == "scans/a"
    assert all(str(file).startswith("scans/a/") for file in first.series[0].files)
    assert read_study(first).image.shape == (4, 4, 3)


def test_frames_come_back_as_they_were(tree):
    path = tree / "a" / "IM0000"
    frames = tuple(read_frames(path))
    assert frames_of(plain_frames(frames), path) == frames
    [ref, _] = find_studies(tree)
    assert value_of(plain(ref)) == ref
    with pytest.raises(TypeError, match="not kept"):
        plain(object())


def test_days_between_dates_are_kept_and_dates_are_not():
    secret = Pseudonyms(b"k" * 16)
    first, second = (secret.day(date, "PID-4711-X") for date in ("20200228", "2020.03.01"))
    assert second - first == 2
    assert first != Pseudonyms(b"x" * 16).day("20200228", "PID-4711-X")
    assert secret.day("20200228", "") is None
    assert secret.day("2020", "PID-4711-X") is None
    assert secret.patient("PID-4711-X") != secret.patient("PID-4711-X", "HOSPITAL")
    assert secret.patient("") == ""


def test_a_name_that_is_no_text_does_not_break_the_index(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDVISION_INDEX", str(tmp_path / "index"))
    folder = tmp_path / "scans"
    folder.mkdir()
    image = nib.Nifti1Image(np.zeros((3, 4, 5), np.int16), np.eye(4))
    nib.save(image, folder / "a.nii")
    os.rename(folder / "a.nii", os.fsencode(folder) + b"/M\xfcller.nii")
    for _ in range(2):
        assert len(find_studies(folder)) == 1
