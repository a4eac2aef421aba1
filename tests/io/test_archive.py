"""Zips of scans, honest and hostile; DICOMDIRs."""

import contextlib
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
from medvision.io.archive import check_upload
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


def test_an_upload_within_its_limits_is_let_in(tmp_path):
    path = pack(tmp_path / "x.zip", {"a/1.nii": b"\0" * 5000, "a/2.nii": b"x", "a/": b""})
    assert check_upload(path) == 5001
    assert check_upload(path, members=3, total=5001) == 5001
    assert check_upload(path.rename(tmp_path / "upload-17")) == 5001


def test_an_upload_of_too_many_files_is_refused(tmp_path):
    path = pack(tmp_path / "x.zip", {f"s/{n}.dcm": b"" for n in range(10_001)})
    says = "x.zip holds 10,001 files and folders: an upload may hold 10,000"
    with pytest.raises(DecodeError, match=says):
        check_upload(path)
    assert check_upload(path, members=10_001) == 0
    with pytest.raises(DecodeError, match="too large a directory: an upload may hold 100 files"):
        check_upload(path, members=100)  # before there is an object for each of them


def test_an_upload_that_promises_too_much_is_refused(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("zeros.raw", b"\0" * (1 << 20))
        out.filelist[0].file_size = 9 << 30
    assert path.stat().st_size < 3000
    with pytest.raises(DecodeError, match="unpacks to 9 GB: an upload may unpack to 8 GB"):
        check_upload(path)
    path = pack(path, {"a.raw": b"\0" * (3 << 20), "b.raw": b"\0" * (3 << 20)})
    with pytest.raises(DecodeError, match="unpacks to 6 MB: an upload may unpack to 4 MB"):
        check_upload(path, total=4 << 20)


def test_nothing_comes_out_beyond_what_the_directory_says(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("a.raw", np.random.default_rng(0).bytes(5000))
        out.filelist[0].file_size = 100
    assert check_upload(path) == 100
    with pytest.raises(DecodeError, match="damaged"), archive.unpacked(path):
        pass  # zipfile stops at 100 bytes, whose sum is another


@pytest.mark.parametrize("name", ["../evil.nii", "/evil.nii", "a/../../evil.nii", "C:/evil.nii"])
def test_an_upload_that_leads_outside_is_refused(tmp_path, name):
    with pytest.raises(DecodeError, match="outside"):
        check_upload(pack(tmp_path / "x.zip", {"ok.nii": b"x", name: b"x"}))


def test_an_upload_of_links_copies_or_secrets_is_refused(tmp_path):
    path, link = tmp_path / "x.zip", zipfile.ZipInfo("link.nii")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as out:
        out.writestr(link, "/etc/passwd")
    with pytest.raises(DecodeError, match="link"):
        check_upload(path)
    with zipfile.ZipFile(path, "w") as out:
        out.writestr("a.nii", "1")
        with pytest.warns(UserWarning, match="Duplicate"):
            out.writestr("a.nii", "2")
    with pytest.raises(DecodeError, match="twice"):
        check_upload(path)
    whole = bytearray(pack(path, {"a.nii": b"x"}).read_bytes())
    whole[whole.rfind(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(whole)
    with pytest.raises(DecodeError, match="encrypted"):
        check_upload(path)


def test_an_upload_that_is_damaged_is_refused(tmp_path):
    path = pack(tmp_path / "x.zip", {"a.nii": np.random.default_rng(0).bytes(5000), "b.nii": b"x"})
    whole, at = path.read_bytes(), path.read_bytes().index(b"PK\x01\x02")
    sized = bytearray(whole)
    sized[at + 20 : at + 24] = (1 << 20).to_bytes(4, "little")  # packed size of the first file
    for change in (
        *(whole[:n] for n in (0, 10, 3000, at, at + 20, len(whole) - 1)),
        whole[3000:],
        b"no zip at all" * 100,
        bytes(sized),
    ):
        path.write_bytes(change)
        with pytest.raises(DecodeError, match=r"x\.zip is cut short or damaged"):
            check_upload(path)
    for start in range(at, len(whole) - 22):  # any byte of the directory
        path.write_bytes(whole[:start] + b"\xff" * 8 + whole[start + 8 :])
        with contextlib.suppress(DecodeError):  # and no other error
            check_upload(path)
    for gone in (tmp_path / "gone.zip", tmp_path):
        with pytest.raises(DecodeError, match="cannot be read"):
            check_upload(gone)


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


def test_a_zip_without_a_scan_is_told_alone_and_in_a_folder(tmp_path):
    (tmp_path / "in").mkdir()
    path = pack(tmp_path / "in" / "notes.zip", {"a.txt": b"no scan"})
    for asked in (path, tmp_path / "in"):
        for read in (find_studies, read_volume):
            with pytest.raises(SeriesError, match=r"No (DICOM|scan)"):
                read(asked)
