"""Networks and images of one's own: what fits is answered, what does not is told in words."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.networks.nets import UNet
from monai.transforms import Orientation, Spacing
from torch import nn

from medvision import Study, from_metatensor, to_metatensor
from medvision.errors import GeometryError, SpecError
from medvision.intensity_spec import Intensity
from medvision.outputs.nifti import save_nifti
from medvision.phantom import Ellipsoid, ellipsoid_phantom
from medvision.predictor import Predictor
from medvision.spec import InputSpec, ModelSpec
from medvision.volume import Volume

AFFINE = np.array([[-1.0, 0, 0, 20], [0, 0, 2, -9], [0, -1.5, 0, 30], [0, 0, 0, 1]])  # oblique axes
SPEC = ModelSpec(
    "mine", "segmentation", "own", ("a", "p"), (1, 1, 1), (16, 16, 16),
    inputs=(InputSpec(intensity=Intensity("window", low=0, high=100)),),
)  # fmt: skip


@pytest.fixture(scope="module")
def scan():
    return ellipsoid_phantom((20, 24, 18), np.eye(4), [Ellipsoid((9, 11, 8), (5, 6, 4))])[0]


class Says(nn.Module):
    """Answers with zeros of some channels."""

    def __init__(self, outputs, whole=True):
        super().__init__()
        self.outputs, self.whole = outputs, whole

    def forward(self, windows):
        sides = windows.shape[2:] if self.whole else [n // 2 for n in windows.shape[2:]]
        return torch.zeros(len(windows), self.outputs, *sides)


@pytest.mark.parametrize(
    ("network", "found"),
    [(Says(2), "[1, 2, 16, 16, 16]"), (Says(4), "[1, 4, 16, 16, 16]"), (Says(3, False), "8, 8, 8")],
)
def test_an_answer_of_another_shape_is_refused(scan, network, found):
    with pytest.raises(SpecError, match="background and a, p") as told:
        Predictor(network, SPEC, "cpu").predict(scan)
    assert found in str(told.value)
    assert "[1, 3, 16, 16, 16]" in str(told.value)


def test_a_classifier_of_other_classes_is_refused(scan):
    spec = ModelSpec("kind", "classification", "own", ("a", "b"), (1, 1, 1), (16, 16, 16))

    class Classes(nn.Module):
        def forward(self, windows):
            return torch.zeros(len(windows), 3)

    with pytest.raises(SpecError, match=r"\[1, 3\], and by its spec it is \[1, 2\]"):
        Predictor(Classes(), spec, "cpu").predict(scan)


@pytest.mark.parametrize("answer", [{}, None, [], {"logits": 1}])
def test_an_answer_that_is_no_tensor_is_refused(scan, answer):
    class Odd(nn.Module):
        def forward(self, windows):
            return answer

    with pytest.raises(SpecError, match=f"of logits.* found a {type(answer).__name__}"):
        Predictor(Odd(), SPEC, "cpu").predict(scan)


@pytest.mark.parametrize("said", ["can't allocate memory: you tried", "CUDA error: no device"])
def test_what_the_machine_lacks_is_not_blamed_on_the_spec(scan, said):
    class Poor(nn.Module):
        def forward(self, windows):
            raise RuntimeError(said)

    with pytest.raises(RuntimeError, match=said[:10]):
        Predictor(Poor(), SPEC, "cpu").predict(scan)


def test_a_window_that_a_network_cannot_take_is_told(scan):
    network = UNet(3, 1, 3, channels=(4, 8, 16), strides=(2, 2))
    odd = ModelSpec("mine", "segmentation", "own", ("a", "p"), (1, 1, 1), (13, 13, 13))
    with pytest.raises(SpecError, match="does not take windows of 1 × 13 × 13 × 13"):
        Predictor(network, odd, "cpu").predict(scan)


def test_a_study_a_volume_and_a_path_give_the_same(scan, tmp_path):
    torch.manual_seed(0)
    predictor = Predictor(UNet(3, 1, 3, channels=(4, 8), strides=(2,)), SPEC, "cpu")
    path = save_nifti(scan, tmp_path / "scan.nii.gz")
    asked = (scan, Study("scan", {"image": scan}), path, str(path))
    masks = [predictor.predict(one).mask.array for one in asked]
    assert all(np.array_equal(one, masks[0]) for one in masks)
    with pytest.raises(SpecError, match="found ndarray"):
        predictor.predict(scan.array)


def test_a_study_a_volume_and_a_prediction_are_shown_on_a_line(scan):
    predictor = Predictor(Says(3), SPEC, "cpu")
    said = predictor.predict(Study("x", {"image": scan}, "Two words"))
    assert repr(scan) == "Volume(1 × 20 × 24 × 18 float32, 1 × 1 × 1 mm, RAS)"
    assert repr(Study("x", {"image": scan}, "Two words")).endswith(", RAS), report of 2 words)")
    assert repr(predictor) == "Predictor(mine: segmentation of a, p; cpu)"
    assert repr(said) == "Prediction('x' by mine: a 0 ml, p 0 ml)"


def test_a_volume_goes_to_monai_and_back():
    array = np.random.default_rng(0).normal(size=(2, 6, 7, 5)).astype(">f4")
    volume = Volume(array, AFFINE)
    tensor = to_metatensor(volume)
    assert isinstance(tensor, MetaTensor)
    assert np.array_equal(tensor.numpy(), array)
    back = from_metatensor(tensor)
    assert np.array_equal(back.array, array)
    assert np.array_equal(back.affine, AFFINE)
    assert not np.shares_memory(back.array, tensor.numpy())
    assert from_metatensor(tensor.to(torch.bfloat16)).array.dtype == np.float32


def test_a_picture_of_monai_has_one_plane():
    picture = from_metatensor(MetaTensor(torch.zeros(3, 8, 6)))
    assert picture.array.shape == (3, 8, 6, 1)
    for other in (MetaTensor(torch.zeros(8, 6)), torch.zeros(1, 8, 6, 4)):
        with pytest.raises(GeometryError, match="becomes a volume"):
            from_metatensor(other)


def test_what_monai_turns_lies_where_medvision_has_it():
    volume = Volume(np.arange(6 * 7 * 5, dtype=np.float32).reshape(1, 6, 7, 5), AFFINE)
    turned = from_metatensor(Orientation("LPS", labels=None)(to_metatensor(volume)))
    ours = volume.reoriented("LPS")
    assert np.array_equal(turned.array, ours.array)
    assert np.allclose(turned.affine, ours.affine)
    finer = from_metatensor(Spacing((1, 1, 1))(to_metatensor(volume)))
    assert finer.spacing == pytest.approx((1, 1, 1))


def test_an_affine_to_other_axes_is_no_volume():
    tensor = to_metatensor(Volume(np.zeros((1, 4, 4, 4), np.float32), AFFINE))
    tensor.meta["space"] = "LPS"
    with pytest.raises(GeometryError, match="RAS"):
        from_metatensor(tensor)
