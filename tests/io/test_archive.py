"""Zips of scans, honest and hostile; DICOMDIRs."""

import stat
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicom_phantom import write_series

from medvision.errors import DecodeError, MedvisionError, SeriesError
from medvision.io import archive, find_studies, read_study, read_volume
from medvision.volume import Volume

SCAN = Volume(np.arange(4 * 5 * 3, dtype=np.int16).reshape(1, 4, 5, 3), np.diag([-1.0, -1, 2, 1]))
TEST_FILES = Path(pydicom.__file__).parent / "data" / "test_files" / "dicomdirtests"


def pack(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in files.items():
            out.writestr(name, data)
    return path


def nifti_bytes(tmp_path):
    path = tmp_path / "one.nii"
    nib.save(nib.Nifti1Image(SCAN.array[0], np.eye(4)), path)
    data = path.read_bytes()
    path.unlink()
    return data


def test_a_series_in_a_zip_is_read_as_from_its_folder(tmp_path):
    files = write_series(tmp_path / "raw", SCAN)
    path = pack(tmp_path / "scan.zip", {f"exam/{p.name}": p.read_bytes() for p in files})
    from_folder, from_zip = read_volume(tmp_path / "raw"), read_volume(path)
    assert np.array_equal(from_zip.array, from_folder.array)
    assert np.array_equal(from_zip.affine, from_folder.affine)
    assert from_zip.info.sources == (path,)
    assert read_volume(path / "exam").shape == from_folder.shape


def test_a_zip_of_several_studies_is_a_folder_of_them(tmp_path):
    data = nifti_bytes(tmp_path)
    inside = {"a/t1.nii": data, "b/t1.nii": data, "__MACOSX/._t1.nii": b"x", "notes.txt": b"x"}
    path = pack(tmp_path / "many.zip", inside)
    refs = find_studies(tmp_path)
    assert [ref.case_id for ref in refs] == ["a_t1", "b_t1"]
    assert refs[0].path == path / "a" / "t1.nii"
    volume = read_study(refs[1]).image  # mapped files must outlive their folder
    assert np.array_equal(volume.array, SCAN.array)
    assert [ref.case_id for ref in find_studies(path / "b")] == ["t1"]
    with pytest.raises(SeriesError, match="holds 2 studies"):
        read_volume(path)


def test_a_zip_is_unpacked_once(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDVISION_INDEX", str(tmp_path / "index"))
    pack(
        tmp_path / "scans" / "one.zip" if (tmp_path / "scans").mkdir() is None else "",
        {"t1.nii": nifti_bytes(tmp_path)},
    )
    first = find_studies(tmp_path / "scans")
    assert [ref.case_id for ref in first] == ["one"]

    def never(*_):
        raise AssertionError

    monkeypatch.setattr(archive, "unpack", never)
    assert find_studies(tmp_path / "scans") == first


def test_a_broken_scan_in_a_zip_is_named_by_the_zip(tmp_path):
    path = pack(tmp_path / "x.zip", {"a/t1.nii": b"", "a/t2.nii": nifti_bytes(tmp_path)})
    problems = [one.problem for ref in find_studies(path) for one in ref.series]
    assert problems == [f"{path}/a/t1.nii is empty (0 bytes).", ""]
    with pytest.raises(DecodeError, match=r"x\.zip/a/t1\.nii is empty"):
        read_study(find_studies(path)[0])


@pytest.mark.parametrize(
    "name", ["../evil.nii", "/evil.nii", "a/../../evil.nii", "C:/evil.nii", "..\\evil.nii"]
)
def test_nothing_is_written_outside(tmp_path, name):
    path = pack(tmp_path / "x.zip", {name: b"x", "ok.nii": b"x"})
    with pytest.raises(DecodeError, match="outside"), archive.unpacked(path):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["x.zip"]
    [ref] = find_studies(path)
    assert "outside" in ref.series[0].problem


def test_links_and_copies_are_refused(tmp_path):
    link = zipfile.ZipInfo("link.nii")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as out:
        out.writestr(link, "/etc/passwd")
    with pytest.raises(DecodeError, match="link"), archive.unpacked(path):
        pass
    with zipfile.ZipFile(path, "w") as out:
        out.writestr("a.nii", "1")
        with pytest.warns(UserWarning, match="Duplicate"):
            out.writestr("a.nii", "2")
    with pytest.raises(DecodeError, match="twice"), archive.unpacked(path):
        pass


def test_a_bomb_is_stopped(tmp_path, monkeypatch):
    path = pack(tmp_path / "x.zip", {"a.nii": b"\0" * (4 << 20)})
    with pytest.raises(DecodeError, match="200 times"), archive.unpacked(path):
        pass
    monkeypatch.setattr(archive, "MAX_TOTAL", 1000)
    path = pack(tmp_path / "x.zip", {"a.nii": b"\0" * 600, "b.nii": b"\0" * 600})
    with pytest.raises(DecodeError, match="room"), archive.unpacked(path):
        pass
    monkeypatch.setattr(archive, "MAX_MEMBERS", 1)
    with pytest.raises(DecodeError, match="more than 1 files"), archive.unpacked(path):
        pass


def test_damaged_and_encrypted_zips_are_told(tmp_path):
    path = pack(tmp_path / "x.zip", {"a.nii": nifti_bytes(tmp_path)})
    whole = path.read_bytes()
    for change in (whole[:-30], whole[:40], b"", whole[:60] + b"\xff" * 20 + whole[80:]):
        path.write_bytes(change)
        with pytest.raises(MedvisionError):
            read_volume(path)
    flagged = bytearray(whole)
    flagged[6] |= 1
    at = whole.rfind(b"PK\x01\x02")
    flagged[at + 8] |= 1
    path.write_bytes(flagged)
    with pytest.raises(DecodeError, match="encrypted"):
        read_volume(path)


def test_a_dicomdir_leads_to_its_files(tmp_path):
    refs = find_studies(TEST_FILES / "DICOMDIR")
    assert sum(len(one.files) for ref in refs for one in ref.series if one.uid) >= 31
    volume = read_volume(TEST_FILES / "DICOMDIR", series="SmartScore")
    assert volume.shape == (16, 16, 5)


def test_what_a_dicomdir_names_and_is_not_there_is_told(tmp_path):
    source = TEST_FILES
    for path in (source / "98892001").rglob("*"):
        if path.is_file() and "4A" not in path.name:
            target = tmp_path / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    (tmp_path / "DICOMDIR").write_bytes((source / "DICOMDIR").read_bytes())
    gone = sorted((tmp_path / "98892001" / "CT5N").iterdir())[-1]
    gone.unlink()
    refs = find_studies(tmp_path)
    mine = next(ref for ref in refs if ref.path.name == "98892001")
    series = next(one for one in mine.series if "SmartScore" in one.description)
    assert any(f"not there: 98892001/CT5N/{gone.name}" in note for note in series.notes)
    whole = [one for ref in refs for one in ref.series if not one.files]
    assert len(whole) > 3  # the studies of which nothing was copied
    volume = read_volume(tmp_path, series="SmartScore")
    assert any("not there" in note for note in volume.info.notes)


def test_a_zip_without_folders_is_read(tmp_path):
    scan = Volume(np.arange(120, dtype=np.int16).reshape(1, 5, 6, 4), np.diag([1.0, 1, 2, 1]))
    paths = write_series(tmp_path / "in", scan)
    with zipfile.ZipFile(tmp_path / "flat.zip", "w") as archive:
        for path in paths:
            archive.write(path, path.name)
    assert read_volume(tmp_path / "flat.zip").shape == (5, 6, 4)
