"""How makers of scanners write volumes: written here as they do, and read by dcm2niix too."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from dcm2niix_peer import agree, converted
from dicom_phantom import write_enhanced, write_series
from pydicom import Dataset
from scipy.spatial.transform import Rotation

from medvision.geometry import check_affine, flip_ras_lps
from medvision.io import read_volume
from medvision.io.dicom import list_series
from medvision.volume import Volume

OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = Rotation.from_euler("xyz", (8, -11, 170), degrees=True).as_matrix()
OBLIQUE[:3, :3] *= (0.8, 1.2, 3)
OBLIQUE[:3, 3] = (-30, 12, 40)
AXES = {
    "axial": [[-0.8, 0, 0, 30], [0, -1.2, 0, 12], [0, 0, 3, -20], [0, 0, 0, 1]],
    "sagittal": [[0, 0, 3, -20], [-0.8, 0, 0, 30], [0, -1.2, 0, 12], [0, 0, 0, 1]],
    "coronal": [[-0.8, 0, 0, 30], [0, 0, 3, -20], [0, -1.2, 0, 12], [0, 0, 0, 1]],
}


def scan(channels=1, affine=AXES["axial"], shape=(8, 10, 5)):
    rng = np.random.default_rng(0)
    array = rng.integers(0, 1000, (channels, *shape)).astype(np.int16)
    return Volume(array, check_affine(affine))


def philips(data, scale=0.01):
    """What Philips adds to a file: its own count of slices, and the scale of the signal."""
    data.Manufacturer, data.SoftwareVersions = "Philips Medical Systems", "5.3.1"
    data.private_block(0x2001, "Philips Imaging DD 001", create=True)
    data.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
    data.add_new(0x2005100E, "FL", scale)


@pytest.mark.parametrize("plane", sorted(AXES))
@pytest.mark.parametrize("first", ["slice", "time"])
def test_philips_enhanced(tmp_path, plane, first):
    truth = scan(3, AXES[plane])
    slices = truth.shape[2]

    def change(data, groups):
        philips(data)
        data.add_new(0x20011018, "SL", slices)
        for group in groups:
            values = Dataset()
            values.RescaleSlope, values.RescaleIntercept, values.RescaleType = 2.5, 10, "normalized"
            group.PixelValueTransformationSequence = [values]

    path = write_enhanced(tmp_path / "a.dcm", truth, dimensions=first, change=change)
    [theirs], _ = converted([path], tmp_path)
    ours = read_volume(path)
    agree(ours, theirs)
    assert ours.array.max() == pytest.approx(
        (truth.array.max() * 2.5 + 10) / (2.5 * 0.01), rel=1e-5
    )


def test_philips_scale_that_changes_from_slice_to_slice(tmp_path):
    truth = scan(2)

    def change(data, groups):
        philips(data)
        data.add_new(0x20011018, "SL", truth.shape[2])
        for n, group in enumerate(groups):
            values = group.PixelValueTransformationSequence[0]
            values.RescaleSlope = 1 + n / 10

    path = write_enhanced(tmp_path / "a.dcm", truth, dimensions="slice", change=change)
    [theirs], _ = converted([path], tmp_path)
    agree(read_volume(path), theirs)


def test_philips_magnitude_and_phase_in_one_file(tmp_path):
    truth = scan(2)

    def change(data, groups):
        philips(data)
        data.add_new(0x20011018, "SL", truth.shape[2])
        for group in groups:
            kind = Dataset()
            channel = int(group.FrameContentSequence[0].TemporalPositionIndex)
            kind.ComplexImageComponent = ["MAGNITUDE", "PHASE"][channel - 1]
            group.MRImageFrameTypeSequence = [kind]

    path = write_enhanced(tmp_path / "a.dcm", truth, dimensions="slice", change=change)
    theirs, _ = converted([path], tmp_path)
    assert [s.differs for s in list_series(path)] == ["magnitude", "phase"]
    for name in ("magnitude", "phase"):
        ours = read_volume(path, name)
        agree(ours, min(theirs, key=lambda t: abs(t.array.sum() - ours.array.sum())))


@pytest.mark.parametrize("maker", ["Canon Medical Systems", "TOSHIBA", "GE MEDICAL SYSTEMS"])
@pytest.mark.parametrize("first", ["slice", "time"])
def test_enhanced_over_one_volume(tmp_path, maker, first):
    truth = scan(1, OBLIQUE)

    def change(data, groups):
        data.Manufacturer = maker

    path = write_enhanced(tmp_path / "a.dcm", truth, dimensions=first, change=change)
    [theirs], _ = converted([path], tmp_path)
    agree(read_volume(path), theirs)


@pytest.mark.parametrize("first", ["slice", "time"])
def test_canon_enhanced_over_time(tmp_path, first):
    truth = scan(3, OBLIQUE)

    def change(data, groups):
        data.Manufacturer = "Canon Medical Systems"

    path = write_enhanced(tmp_path / "a.dcm", truth, dimensions=first, change=change)
    [theirs], _ = converted([path], tmp_path)
    agree(read_volume(path), theirs)


def test_siemens_xa_writes_a_file_a_volume(tmp_path):
    truth = scan(3)
    series, study = pydicom.uid.generate_uid(), pydicom.uid.generate_uid()
    for c in range(3):

        def change(data, groups, c=c):
            data.Manufacturer, data.SoftwareVersions = "Siemens Healthineers", "syngo MR XA30"
            data.SeriesInstanceUID, data.StudyInstanceUID = series, study
            data.InstanceNumber = c + 1
            for group in groups:  # each frame has its own direction, the same for all
                group.PlaneOrientationSequence = data.SharedFunctionalGroupsSequence[
                    0
                ].PlaneOrientationSequence
            del data.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence

        one = truth.with_array(truth.array[c])
        path = tmp_path / "in" / f"{c}.dcm"
        write_enhanced(path, one, dimensions="slice", shuffled=False, change=change)
    [theirs], _ = converted(sorted((tmp_path / "in").iterdir()), tmp_path)
    agree(read_volume(tmp_path / "in"), theirs)


@pytest.mark.parametrize("plane", sorted(AXES))
@pytest.mark.parametrize("tiles", [5, 7])
def test_united_imaging_grid(tmp_path, plane, tiles):
    truth = scan(1, AXES[plane], (8, 10, tiles))
    across = int(np.ceil(np.sqrt(tiles)))
    down = int(np.ceil(tiles / across))
    sheet = np.zeros((down * 10, across * 8), np.int16)
    for t in range(tiles):
        r, c = divmod(t, across)
        sheet[r * 10 : r * 10 + 10, c * 8 : c * 8 + 8] = truth.array[0, :, :, t].T

    places = [Dataset() for _ in range(tiles)]
    for k, place in enumerate(places):
        lps = flip_ras_lps(truth.affine) @ [0, 0, k, 1]
        place.ImagePositionPatient = [f"{v:.4f}" for v in lps[:3]]

    def change(data, k):
        data.Manufacturer = "UIH"
        data.private_block(0x0065, "Image Private Header", create=True)
        data.add_new(0x00651050, "DS", str(tiles))
        data.add_new(0x00651051, "SQ", places)
        data.SpacingBetweenSlices = 3
        data.Rows, data.Columns = sheet.shape
        data.PixelData = sheet.tobytes()

    one = truth.cropped((slice(0, 8), slice(0, 10), slice(0, 1)))
    [path] = write_series(tmp_path / "in", one, change=change, modality="MR")
    ours = read_volume(path)
    [theirs], _ = converted([path], tmp_path)
    agree(ours, theirs)


def write_classic(folder: Path, truth: Volume, change) -> Path:
    """Write each channel as single-slice files of one series; instance numbers run on."""
    series, study = pydicom.uid.generate_uid(), pydicom.uid.generate_uid()
    slices = truth.shape[2]
    for c in range(len(truth.array)):

        def one(data, k, c=c):
            data.SeriesInstanceUID, data.StudyInstanceUID = series, study
            data.InstanceNumber = 1 + c * slices + k
            change(data, c, k)

        for path in write_series(
            folder / str(c), truth.with_array(truth.array[c]), change=one, seed=c, modality="MR"
        ):
            path.rename(folder / f"{c}-{path.name}")
        (folder / str(c)).rmdir()
    return folder


def test_philips_classic_with_scrambled_numbers(tmp_path):
    truth = scan(3)
    numbers = np.random.default_rng(1).permutation(15).reshape(3, 5)

    def change(data, c, k):
        philips(data, 0.5)
        data.InstanceNumber, data.TemporalPositionIdentifier = int(numbers[c, k]) + 1, c + 1
        data.add_new(0x20011018, "SL", 5)

    folder = write_classic(tmp_path / "in", truth, change)
    [theirs], _ = converted(sorted(folder.iterdir()), tmp_path)
    agree(read_volume(folder), theirs)


def test_philips_enhanced_with_two_counts_of_volumes(tmp_path):
    truth = scan(6)  # two labels of three phases

    def change(data, groups):
        philips(data)
        data.add_new(0x20011018, "SL", truth.shape[2])
        inner = Dataset()
        inner.DimensionIndexPointer, inner.FunctionalGroupPointer = 0x00209153, 0x00189118
        data.DimensionIndexSequence.append(inner)
        for group in groups:
            content = group.FrameContentSequence[0]
            c = int(content.TemporalPositionIndex) - 1
            indices = [int(v) for v in content.DimensionIndexValues]
            content.DimensionIndexValues = [*indices[:2], 1 + c // 3, 1 + c % 3]
            del content.TemporalPositionIndex

    path = write_enhanced(tmp_path / "a.dcm", truth, dimensions="slice", change=change)
    [theirs], _ = converted([path], tmp_path)
    agree(read_volume(path), theirs)


def test_philips_classic_labels_of_several_phases(tmp_path):
    truth = scan(6)  # control and label of three phases, phase fastest
    numbers = np.random.default_rng(1).permutation(30).reshape(6, 5)

    def change(data, c, k):
        philips(data, 0.5)
        data.InstanceNumber = int(numbers[c, k]) + 1
        data.private_block(0x2005, "Philips MR Imaging DD 005", create=True)
        data.add_new(0x20011018, "SL", 5)
        data.add_new(0x20011008, "IS", str(1 + c % 3))
        data.add_new(0x20051429, "CS", "LABEL" if c // 3 else "CONTROL")

    folder = write_classic(tmp_path / "in", truth, change)
    found = read_volume(folder).reoriented("RAS")
    expected = truth.with_array(truth.array * 2).reoriented("RAS")
    assert np.array_equal(found.array, expected.array)


def test_ge_field_map_and_magnitude_of_one_series(tmp_path):
    truth = scan(2)

    def change(data, c, k):
        data.Manufacturer = "GE MEDICAL SYSTEMS"
        data.private_block(0x0019, "GEMS_ACQU_01", create=True)
        data.private_block(0x0021, "GEMS_RELA_01", create=True)
        data.add_new(0x0019109E, "LO", "B0map")
        data.add_new(0x0021104F, "SS", 5)
        data.add_new(0x00201002, "IS", "10")

    folder = write_classic(tmp_path / "in", truth, change)
    theirs, _ = converted(sorted(folder.iterdir()), tmp_path)
    assert len(theirs) == 2
    for name in ("field map", "magnitude"):
        ours = read_volume(folder, name)
        agree(ours, min(theirs, key=lambda t: abs(t.array.sum() - ours.array.sum())))


def test_a_siemens_xa_scan_that_was_stopped(tmp_path):
    truth = scan(3)
    series = pydicom.uid.generate_uid()
    for c in range(3):
        one = truth.with_array(truth.array[c])
        one = one.cropped((slice(0, 8), slice(0, 10), slice(0, 5 if c < 2 else 2)))

        def change(data, groups, c=c):
            data.SeriesInstanceUID, data.InstanceNumber = series, c + 1

        write_enhanced(tmp_path / f"{c}.dcm", one, shuffled=False, change=change)
    assert [s.differs for s in list_series(tmp_path)] == ["5 frames", "2 frames"]
    assert read_volume(tmp_path, "5 frames").array.shape == (2, 8, 10, 5)


def test_mosaics_that_follow_the_head(tmp_path):
    truth = scan(2, shape=(8, 10, 4))
    series = pydicom.uid.generate_uid()
    for c in range(2):
        sheet = np.block([[truth.array[c, :, :, 2 * r + n].T for n in (0, 1)] for r in (0, 1)])
        one = truth.with_array(truth.array[c]).cropped((slice(0, 8), slice(0, 10), slice(0, 1)))

        def change(data, k, c=c, sheet=sheet):
            data.Manufacturer, data.SeriesInstanceUID, data.InstanceNumber = (
                "SIEMENS",
                series,
                c + 1,
            )
            data.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
            data.private_block(0x0019, "SIEMENS MR HEADER", create=True)
            data.add_new(0x0019100A, "US", 4)
            data.Rows, data.Columns = sheet.shape
            data.PixelData = np.ascontiguousarray(sheet).tobytes()
            data.ImagePositionPatient[2] += 0.4 * c

        [path] = write_series(tmp_path / str(c), one, change=change, modality="MR")
        path.rename(tmp_path / f"{c}.dcm")
    found = read_volume(tmp_path)
    assert found.array.shape == (2, 8, 10, 4)
    assert "moved its slices" in found.info.notes[0]


@pytest.mark.parametrize(("spacing", "digits"), [(0.008, 5), (0.625, 1), (1.25, 1), (0.8333, 2)])
def test_thin_slices_with_rounded_positions(tmp_path, spacing, digits):
    affine = np.diag([-0.8, -1.2, spacing, 1])

    def change(data, k):
        data.ImagePositionPatient = [f"{float(v):.{digits}f}" for v in data.ImagePositionPatient]

    write_series(tmp_path, scan(1, affine, (8, 10, 30)), change=change)
    found = read_volume(tmp_path)
    assert found.shape == (8, 10, 30)
    assert found.spacing[2] == pytest.approx(spacing, rel=0.01)


def test_one_enhanced_frame_may_leave_all_to_the_shared_groups(tmp_path):
    truth = scan().cropped((slice(0, 8), slice(0, 10), slice(2, 3)))

    def change(data, groups):
        data.SharedFunctionalGroupsSequence[0].update(groups[0])
        del data.PerFrameFunctionalGroupsSequence

    found = read_volume(write_enhanced(tmp_path / "a.dcm", truth, change=change))
    assert np.allclose(found.affine, truth.affine, atol=1e-4)


VECTORS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0.6, 0, 0.8], [0.36, 0.48, -0.8]])


def diffusion(maker):
    """Return how a maker writes b-value and direction."""

    def ge(data, c, k):
        data.private_block(0x0019, "GEMS_ACQU_01", create=True)
        data.private_block(0x0043, "GEMS_PARM_01", create=True)
        data.add_new(0x00431039, "IS", [1000 if c else 0, 8, 0, 0])
        for tag, value in zip((0x001910BB, 0x001910BC, 0x001910BD), VECTORS[c], strict=True):
            data.add_new(tag, "DS", f"{value:.6f}")
        data.add_new(0x001910E0, "DS", "5")
        data.InPlanePhaseEncodingDirection = "COL"

    def uih(data, c, k):
        data.private_block(0x0065, "Image Private Header", create=True)
        data.add_new(0x00651009, "FD", 1000.0 if c else 0.0)
        data.add_new(0x00651037, "FD", VECTORS[c].tolist())

    def philips_classic(data, c, k):
        philips(data, 1.0)
        data.add_new(0x20011003, "FL", 1000.0 if c else 0.0)
        for tag, value in zip((0x200510B0, 0x200510B1, 0x200510B2), VECTORS[c], strict=True):
            data.add_new(tag, "FL", float(value))

    def canon(data, c, k):
        x, y, z = VECTORS[c]
        data.DiffusionBValue, data.InPlanePhaseEncodingDirection = 1000.0 if c else 0.0, "ROW"
        data.ImageComments = f"b=1000({y:g},{x:g},{z:g})" if c else ""

    def standard(data, c, k):
        if c:
            data.DiffusionBValue = 1000.0
            data.DiffusionGradientOrientation = VECTORS[c].tolist()

    writers = {
        "GE MEDICAL SYSTEMS": ge,
        "UIH": uih,
        "Philips Medical Systems": philips_classic,
        "TOSHIBA": standard,
        "CANON_MEC": canon,
    }

    def change(data, c, k):
        data.Manufacturer, data.ScanningSequence = maker, "EP"
        writers[maker](data, c, k)

    return change


@pytest.mark.parametrize(
    "maker", ["GE MEDICAL SYSTEMS", "UIH", "Philips Medical Systems", "TOSHIBA", "CANON_MEC"]
)
@pytest.mark.parametrize("plane", sorted(AXES))
def test_diffusion_directions(tmp_path, maker, plane):
    truth = scan(len(VECTORS), AXES[plane])
    folder = write_classic(tmp_path / "in", truth, diffusion(maker))
    ours = read_volume(folder)
    [theirs], _ = converted(sorted(folder.iterdir()), tmp_path)
    agree(ours, theirs)
    [path] = tmp_path.glob("*.bvec")
    fsl = np.loadtxt(path).T  # along the voxel axes of dcm2niix's file, x mirrored (FSL)
    affine = pydicom_affine(tmp_path)
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    if np.linalg.det(axes) > 0:
        fsl = fsl * [-1, 1, 1]
    world = fsl @ axes.T
    found = np.asarray(ours.info.b_vectors)
    assert ours.info.b_values == (0, 1000, 1000, 1000, 1000, 1000)
    cosine = np.abs((found * world).sum(axis=1))  # the two ends of a gradient are the same
    assert np.allclose(cosine, [0, 1, 1, 1, 1, 1], atol=1e-3)


def pydicom_affine(folder):
    """Return the affine of the only NIfTI file of a folder."""
    import nibabel

    [path] = folder.glob("*.nii")
    return nibabel.load(path).affine
