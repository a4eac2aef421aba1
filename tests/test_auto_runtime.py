"""The fastest runtime is taken, unless it changes a mask."""

import json
import time
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch

from medvision import agreement, auto_runtime
from medvision.auto_runtime import check_case, choose_runtime
from medvision.checkpoint import load_model, model_hash
from medvision.geometry import parse_box
from medvision.models import build_model
from medvision.predictor import load_predictor
from medvision.runtime import prepare_runtime
from medvision.spec import ModelSpec
from medvision.study import Study
from medvision.transforms import preprocess
from medvision.volume import Volume
from medvision.zoo import find_model

HIPPOCAMPUS = find_model("hippocampus")


class Halves(torch.nn.Module):
    """Says ``low`` of dark voxels, ``high`` of bright ones, and takes its time."""

    def forward(self, windows):
        time.sleep(0.01)
        return torch.cat([torch.full_like(windows, 0.1), -windows, windows], dim=1)


class Stub:
    """A runtime that is quicker, and says something else."""

    def __init__(self, name, change, precision="float32"):
        self.name, self.precision, self.change = name, precision, change

    def __call__(self, windows, reports=None):
        logits = torch.cat([torch.full_like(windows, 0.1), -windows, windows], dim=1)
        return self.change(logits)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    path = tmp_path / "cache" / "runtimes.json"
    monkeypatch.setenv("MEDVISION_RUNTIMES", str(path))
    return path


@pytest.fixture
def stubs(monkeypatch):
    """Runtimes by name in the place of real ones; eager torch stays."""
    made = {}

    def prepare(network, spec, device, name="torch"):
        return made[name] if name in made else prepare_runtime(network, spec, device, name)

    monkeypatch.setattr(auto_runtime, "prepare_runtime", prepare)
    return made


def toy(**more):
    spec = ModelSpec("toy", "segmentation", "unet3d", ("low", "high"), None, (16, 16, 16), **more)
    ramp = torch.linspace(-1, 1, 24)[None, :, None, None].expand(1, 24, 20, 16).contiguous()
    return [Halves().eval()], spec, ramp


def choose(stubs, *names, **more):
    networks, spec, image = toy()
    return choose_runtime(networks, spec, "cpu", image, names=names, **more)


def test_the_quicker_of_two_that_agree_is_taken(stubs, capsys):
    stubs["openvino"] = Stub("openvino", lambda logits: logits)
    choice = choose(stubs, "openvino")
    assert choice.name == "openvino"
    torch_trial, other = choice.trials
    assert other.dice == 1
    assert other.seconds < torch_trial.seconds
    line = capsys.readouterr().err
    assert line.startswith("Runtime openvino (auto, on the check case). A window: torch 0.01")
    assert "(Dice 1.0000)" in line


@pytest.mark.parametrize(
    "change",
    [
        lambda logits: logits.roll(1, dims=2),  # the mask, one voxel aside
        lambda logits: logits * float("nan"),
        lambda logits: logits.flip(1),
        lambda logits: 1 / 0,
    ],
    ids=["shifted", "not finite", "other classes", "raises"],
)
def test_one_that_lies_is_not_taken(stubs, change, capsys):
    def raising(logits):
        try:
            return change(logits)
        except ZeroDivisionError:
            raise RuntimeError("out of memory") from None

    stubs["openvino"] = Stub("openvino", raising)
    choice = choose(stubs, "openvino")
    assert choice.name == "torch"
    assert not choice.trials[1].agrees
    assert "not the same" in (line := capsys.readouterr().err) or "openvino failed" in line


def test_a_volume_that_is_off_is_enough(stubs):
    networks, spec, image = toy()
    stubs["openvino"] = Stub(
        "openvino", lambda logits: logits + torch.tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1, 1)
    )
    (_, trial) = choose_runtime(networks, spec, "cpu", image, names=["openvino"]).trials
    assert trial.volume > 0.005
    assert not trial.agrees


def test_structures_that_are_not_there_are_judged_by_probability(stubs):
    networks, spec, image = toy()
    dark = image.clamp(max=0.05)  # never bright enough for "high"

    def judge(change):
        stubs["openvino"] = Stub("openvino", change)
        return choose_runtime(networks, spec, "cpu", dark, names=["openvino"], seen="a.nii.gz")

    off = torch.tensor([0.0, 0.0, 0.04]).view(1, 3, 1, 1, 1)  # 0.01 of a probability, no mask
    same, differs = judge(lambda logits: logits), judge(lambda logits: logits + off)
    assert same.absent == differs.absent == ("high",)
    assert same.name == "openvino"
    assert differs.trials[1].dice == 1
    assert differs.trials[1].share == pytest.approx(0.01, abs=0.003)
    assert same.record()["runtime_absent"] == ["high"]
    assert same.record()["runtime_judged_on"] == "a.nii.gz"


def test_one_that_runs_out_of_memory_is_passed_over(stubs, monkeypatch, capsys):
    whole = auto_runtime.prepare_runtime

    def prepare(network, spec, device, name="torch"):
        if name == "openvino":
            raise torch.OutOfMemoryError  # without a word
        return whole(network, spec, device, name)

    monkeypatch.setattr(auto_runtime, "prepare_runtime", prepare)
    stubs["torch-channels-last"] = Stub("torch-channels-last", lambda logits: logits)
    choice = choose(stubs, "openvino", "torch-channels-last")
    assert choice.name == "torch-channels-last"
    assert choice.trials[1].problem == "OutOfMemoryError"
    assert "openvino failed" in capsys.readouterr().err


def test_a_member_that_cannot_be_prepared_does_not_agree(stubs, monkeypatch):
    networks, spec, image = toy()
    stubs["bf16"] = Stub("bf16", lambda logits: logits, "bfloat16")
    whole, other = auto_runtime.prepare_runtime, Halves()

    def prepare(network, spec, device, name="torch"):
        if network is other and name == "bf16":
            raise RuntimeError("out of memory\nat line 3")
        return whole(network, spec, device, name)

    monkeypatch.setattr(auto_runtime, "prepare_runtime", prepare)
    members = [*networks, other, *networks]
    choice = choose_runtime(members, spec, "cpu", image, names=["bf16"])
    assert choice.name == "torch"
    assert choice.trials[1].problem == "out of memory"


@pytest.mark.parametrize("number", [float("nan"), -float("inf")])
def test_eager_is_taken_where_its_own_numbers_are_not_finite(stubs, cache, capsys, number):
    _, spec, image = toy()
    stubs["openvino"] = Stub("openvino", lambda logits: logits)

    class Odd(Halves):
        def forward(self, windows):
            logits = super().forward(windows)
            logits[:, 1] = number
            return logits

    names = ["openvino"]
    choice = choose_runtime([Odd().eval()], spec, "cpu", image, names=names, model="abc")
    assert choice.name == "torch"
    assert "s (its numbers are not finite)" in capsys.readouterr().err
    assert not cache.exists()  # another scan may do


def test_no_more_than_one_is_there_beside_eager(monkeypatch):
    networks, spec, image = toy()
    there = weakref.WeakSet()
    most = []

    def prepare(network, spec, device, name="torch"):
        made = prepare_runtime(network, spec, device, name)
        there.add(made)
        most.append(len(there))
        return made

    monkeypatch.setattr(auto_runtime, "prepare_runtime", prepare)
    names = ["torch-channels-last", "bf16", "torch-channels-last", "bf16"]
    choose_runtime(networks, spec, "cpu", image, names=names)
    assert max(most) <= 3  # eager, one, and the next in the making


@pytest.mark.parametrize("task", ["segmentation", "regions", "classification"])
def test_slab_by_slab_says_what_all_at_once_would(monkeypatch, task):
    more = {"regions": (1, 2, 3)} if task == "regions" else {}
    kind = "classification" if task == "classification" else "segmentation"
    spec = ModelSpec("toy", kind, "unet3d", ("a", "b", "c"), None, (16, 16, 16), **more)
    torch.manual_seed(0)
    size = () if kind == "classification" else (8, 6, 4)
    one = torch.randn(2, spec.outputs, *size)
    two = one + 0.05 * torch.randn_like(one)
    if size:
        one[:, -1], two[:, -1] = -9, -8  # is not there
    monkeypatch.setattr(agreement, "SLAB", 50)
    assert len(list(agreement.slabs(one))) > 2 or not size
    windows = [torch.tensor([0]), torch.tensor([1])]
    sizes, finite = agreement.structures(one.__getitem__, windows, spec)
    assert finite
    found = agreement.compare(one.__getitem__, two.__getitem__, windows, spec, sizes)
    turn = torch.sigmoid if more else lambda x: x.softmax(dim=1)
    differs = (turn(one) - turn(two)).abs()
    if not size:
        assert found == {"share": pytest.approx(float(differs.max()), abs=1e-6)}
        return
    first, second = (x > 0 if more else x.argmax(1) for x in (one, two))
    here, there = ([x[:, i] if more else x == i + 1 for i in range(3)] for x in (first, second))
    assert sizes.tolist() == [int(mask.sum()) for mask in here]
    pairs = list(zip(here, there, strict=True))[:2]
    dice = min(2 * float((a & b).sum()) / float(a.sum() + b.sum()) for a, b in pairs)
    volume = max(abs(float(b.sum()) / float(a.sum()) - 1) for a, b in pairs)
    assert found["dice"] == pytest.approx(dice)
    assert found["volume"] == pytest.approx(volume)
    assert found["share"] == pytest.approx(float(differs[:, -1].max()), abs=1e-3)


def test_of_large_answers_one_window_is_looked_at():
    image = torch.zeros(1, 160, 128, 128)
    spec = ModelSpec("toy", "segmentation", "unet3d", ("a", "b"), None, (128, 128, 128))
    many = replace(spec, class_names=tuple(f"c{n}" for n in range(117)))
    assert [len(auto_runtime.windows_of(image, one)) for one in (spec, many)] == [3, 1]
    flat = replace(many, architecture="unet2d", roi_size=(128, 128, 1))
    (planes,) = auto_runtime.windows_of(image, flat)
    assert len(planes) == 16
    (planes,) = auto_runtime.windows_of(image, replace(flat, roi_size=(512, 512, 1)))
    assert len(planes) == 4


def test_all_members_must_agree_in_less_than_float32(stubs):
    networks, spec, image = toy()
    stubs["bf16"] = Stub("bf16", lambda logits: logits, "bfloat16")
    other = Halves()
    other.forward = lambda windows: Halves.forward(other, -windows)
    names = ["bf16"]
    assert choose_runtime(networks * 2, spec, "cpu", image, names=names).name == "bf16"
    assert choose_runtime([*networks, other], spec, "cpu", image, names=names).name == "torch"


def test_what_was_found_is_asked_for_again(stubs, cache, capsys):
    stubs["openvino"] = Stub("openvino", lambda logits: logits)
    first = choose(stubs, "openvino", model="abc")
    stubs.clear()  # nothing is prepared again
    again = choose(stubs, "openvino", model="abc")
    assert again.kept
    assert again.trials == first.trials
    assert "found earlier" in capsys.readouterr().err
    assert len(json.loads(cache.read_text())) == 1


@pytest.mark.parametrize("text", ["", "[1]", '{"a', '{"KEY": {"name": "quantum"}}', '{"KEY": 3}'])
def test_a_damaged_cache_is_ignored(stubs, cache, text):
    stubs["openvino"] = Stub("openvino", lambda logits: logits)
    choose(stubs, "openvino", model="abc")
    (key,) = json.loads(cache.read_text())
    cache.write_text(text.replace("KEY", key))
    found = choose(stubs, "openvino", model="abc")
    assert not found.kept
    assert found.name == "openvino"
    assert choose(stubs, "openvino", model="abc").kept


def test_nothing_is_kept_where_that_is_not_wanted_or_cannot_be(stubs, cache, monkeypatch):
    stubs["openvino"] = Stub("openvino", lambda logits: logits)
    choose(stubs, "openvino")  # of no model by hash
    monkeypatch.setenv("MEDVISION_RUNTIMES", "off")
    choose(stubs, "openvino", model="abc")
    assert not cache.exists()
    cache.parent.mkdir()
    (blocked := cache.parent / "file").write_text("")
    monkeypatch.setenv("MEDVISION_RUNTIMES", str(blocked / "runtimes.json"))
    assert choose(stubs, "openvino", model="abc").name == "openvino"


def test_the_hippocampus_brings_a_case_with_all_its_classes():
    scan = check_case(HIPPOCAMPUS)
    assert (HIPPOCAMPUS / "check.nii.gz").stat().st_size < 200_000
    assert "Copyright (C) 1993-2004 Louis Collins" in (HIPPOCAMPUS / "check.txt").read_text()
    found = load_predictor("hippocampus", "cpu").predict(Study("check", {"image": scan}))
    assert all(one.ml > 1.5 for one in found.measure())
    assert not found.warnings or all("edge" in one for one in found.warnings)


def test_the_case_is_the_template_that_its_notice_names():
    """The file can be made again: a box of the MNI152 brain, times 255, rounded."""
    mni = pytest.importorskip("nilearn.datasets").load_mni152_template(resolution=1)
    brain = Volume(np.asarray(mni.dataobj)[None], mni.affine)
    box = brain.cropped_to(parse_box("mni:left-hippocampus"))
    scan = check_case(HIPPOCAMPUS)
    assert np.allclose(scan.affine, box.affine)
    assert np.array_equal(scan.array, np.round(255 * box.array))


def test_a_real_model_keeps_its_masks_whatever_is_chosen():
    network, spec = load_model(HIPPOCAMPUS)
    image = preprocess({"image": check_case(HIPPOCAMPUS)}, spec).tensor
    choice = choose_runtime([network], spec, "cpu", image, model=model_hash(HIPPOCAMPUS))
    assert not choice.absent
    assert all(one.agrees for one in choice.trials), choice.line()
    assert min(one.dice for one in choice.trials) >= 0.999
    card = json.loads(json.dumps(choice.record()))
    assert card["runtime"] == choice.name
    assert [one["name"] for one in card["candidates"]] == [one.name for one in choice.trials]


def test_planes_and_classes_are_compared_too():
    for kind, size in (("unet2d", (32, 32, 1)), ("cnn2d", (32, 32, 1))):
        task = "segmentation" if kind == "unet2d" else "classification"
        spec = ModelSpec("toy", task, kind, ("a", "b"), None, size)
        torch.manual_seed(0)
        network = build_model(spec).eval()
        image = torch.randn(1, 40, 36, 5 if task == "segmentation" else 1)
        names = ["torch-channels-last"]
        choice = choose_runtime([network], spec, "cpu", image, names=names, show=False)
        assert all(one.agrees for one in choice.trials)
        assert (choice.trials[1].dice is None) == (task == "classification")


def test_regions_are_compared_each_by_itself():
    spec = ModelSpec(
        "toy", "segmentation", "unet3d", ("edema", "tumor"), None, (16, 16, 16), regions=(1, 2)
    )

    class Nested(torch.nn.Module):
        def forward(self, windows):
            return torch.cat([windows, windows - 0.5], dim=1)

    image = torch.linspace(-1, 1, 16)[None, :, None, None].expand(1, 16, 16, 16).contiguous()
    names = ["torch-channels-last"]
    choice = choose_runtime([Nested()], spec, "cpu", image, names=names, show=False)
    assert choice.trials[1].dice == 1
    assert not choice.absent
    assert choose_runtime([Nested()], spec, "cpu", image - 0.6, names=names).absent == ("tumor",)
