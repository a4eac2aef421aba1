"""MONAI bundles become models; what cannot be translated is named, and no code is run."""

import json
import warnings
import zipfile

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai_bundles import (
    ARGMAX,
    HALF,
    INVERT,
    LOAD,
    SIGMOID,
    SOFTMAX,
    SPACING,
    UNET,
    WINDOW,
    answer_of,
    changed,
    compose,
    config,
    metadata,
    random_net,
    write_bundle,
    write_volume,
    zipped,
)
from monai_zoo import brats, ct_phantom, one_channel, prostate, short_axis, spleen, whole_body

from medvision.cleanup_spec import Cleanup
from medvision.errors import SpecError
from medvision.importers.monai_bundle import is_monai_bundle, read_monai_bundle
from medvision.inference_spec import Sampling, Sliding
from medvision.intensity_spec import Intensity
from medvision.models import build_model
from medvision.spec import InputSpec, ModelSpec

AFTER = {"antialias": False, "ends": "centers", "scale": "after"}


def transform(name, keys="image", **settings):
    return {"_target_": name, "keys": keys, **settings}


def test_a_spec_says_what_the_config_says(tmp_path):
    imported = read_monai_bundle(spleen(tmp_path))
    network = {key: value for key, value in UNET.items() if key != "_target_"}
    assert imported.spec == ModelSpec(
        name="spleen_ct_segmentation",
        task="segmentation",
        architecture="monai/UNet",
        class_names=("spleen",),
        spacing=(1.5, 1.5, 2.0),
        roi_size=(32, 32, 32),
        network=network | {"channels": (8, 16, 32), "strides": (2, 2)},
        inputs=(
            InputSpec(
                "image", "CT", intensity=Intensity("fixed", low=-57, high=164, mean=-57, std=221)
            ),
        ),
        max_obliquity=90.0,
        sampling=Sampling(**AFTER),
        sliding=Sliding(blend="constant", beyond="zero"),
    )
    assert ModelSpec.from_json(imported.spec.to_json()).sampling == imported.spec.sampling
    for told in (
        "# spleen_ct_segmentation",
        "Research use only, not a medical device.",
        "- Version: 0.5.3",
        "- Authors: MONAI team",
        "- Copyright: Copyright (c) MONAI Consortium",
        "- Data: Task09_Spleen.tar",
        "not to be used for diagnostic purposes",
        "Licensed under the Apache License",
    ):
        assert told in imported.card
    model = build_model(imported.spec)
    model.load_state_dict(imported.states[0])
    assert model.divisor == (4, 4, 4)


def test_folder_zip_and_the_folder_around_are_one_bundle(tmp_path):
    root = spleen(tmp_path / "around")
    packed = zipped(root)
    assert is_monai_bundle(root)
    assert is_monai_bundle(packed)
    straight = read_monai_bundle(root)
    unzipped = read_monai_bundle(packed)
    assert unzipped.spec == straight.spec
    assert unzipped.card == straight.card
    assert all(torch.equal(unzipped.states[0][k], v) for k, v in straight.states[0].items())
    packed.rename(tmp_path / "kept.zip")
    assert is_monai_bundle(tmp_path / "around")
    assert read_monai_bundle(tmp_path / "around").spec == straight.spec


def test_yaml_is_a_config_too(tmp_path):
    yaml = pytest.importorskip("yaml")
    root = spleen(tmp_path)
    straight = read_monai_bundle(root)
    path = root / "configs" / "inference.json"
    path.with_suffix(".yaml").write_text(yaml.safe_dump(json.loads(path.read_text())))
    path.unlink()
    assert is_monai_bundle(root)
    assert read_monai_bundle(root).spec == straight.spec


def test_other_folders_and_zips_are_no_bundles(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"no zip")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as target:
        target.writestr("scan.nii.gz", b"")
    for name in ("", "a.zip", "b.zip", "none"):
        assert not is_monai_bundle(tmp_path / name)
    with pytest.raises(SpecError, match="is no MONAI bundle: it needs configs"):
        read_monai_bundle(tmp_path)
    with pytest.raises(SpecError, match="is no MONAI bundle"):
        read_monai_bundle(tmp_path / "b.zip")


def test_regions_are_painted_as_the_bundle_does(tmp_path):
    imported = read_monai_bundle(brats(tmp_path))
    spec = imported.spec
    assert spec.input_names == ("T1c", "T1", "T2", "FLAIR")
    assert {one.modality for one in spec.inputs} == {"MR"}
    assert {one.intensity for one in spec.inputs} == {
        Intensity("zscore", (0, 100), inside="nonzero")
    }
    assert spec.class_names == ("Whole tumor", "Tumor core", "Enhancing tumor")
    assert (spec.regions, spec.network["order"]) == ((1, 2, 3), (1, 0, 2))
    assert (spec.orientation, spec.spacing) == ("LPS", (1.0, 1.0, 1.0))
    for told in (
        "Whole tumor 2, Tumor core 1, Enhancing tumor 4",
        "painted are Whole tumor, then Tumor core, then Enhancing tumor, as the bundle paints them",
        "its metadata say 1 × 1 × 1 mm",
        "turned to LPS, as its training data lie",
    ):
        assert told in imported.card


def test_without_a_painting_order_names_tell_which_region_is_larger(tmp_path):
    root = brats(tmp_path, painted=False)
    imported = read_monai_bundle(root)
    assert imported.spec.class_names == ("Whole tumor", "Tumor core", "Enhancing tumor")
    assert "from the largest to what lies in it, told by their names" in imported.card
    path = root / "configs" / "metadata.json"
    path.write_text(path.read_text().replace("Whole tumor", "Edema"))
    imported = read_monai_bundle(root)
    assert imported.spec.class_names == ("Tumor core", "Edema", "Enhancing tumor")
    assert "order" not in imported.spec.network
    assert "nothing says which lies in which" in imported.card


def test_one_output_is_foreground_against_background(tmp_path):
    spec = read_monai_bundle(one_channel(tmp_path)).spec
    assert spec.architecture == "monai/BasicUNet"
    assert (spec.class_names, spec.outputs) == (("hippocampus",), 2)
    assert spec.network["binary"] is True
    assert spec.cleanup == {"hippocampus": Cleanup(largest=True)}
    assert spec.inputs[0].intensity == Intensity("range", (1, 99), to=(-1, 1))
    assert spec.spacing == (1.7, 1.7, 1.7)
    with torch.inference_mode():
        logits = build_model(spec).eval()(torch.randn(1, 1, 32, 32, 32))
    assert logits.shape == (1, 2, 32, 32, 32)
    assert not logits[:, 0].any()


def test_settings_of_windows_and_answers(tmp_path):
    imported = read_monai_bundle(whole_body(tmp_path))
    assert imported.spec.overlap == 0.25
    assert imported.spec.sliding == Sliding(blend="gaussian", beyond="border")
    assert imported.spec.inputs[0].intensity == Intensity("range", (0, 100), to=(-1, 1))
    assert "by the nearest voxel; here probabilities are interpolated" in imported.card
    spec = read_monai_bundle(prostate(tmp_path)).spec
    assert spec.sampling == Sampling(**AFTER, back="logits")
    assert spec.inputs[0].intensity == Intensity("zscore", (0, 100))
    spec = read_monai_bundle(short_axis(tmp_path)).spec
    assert (spec.roi_size, spec.dims, spec.spacing) == ((48, 48, 1), 2, (1.5, 1.5, 4.0))


def test_scaling_before_sampling_is_said_so(tmp_path):
    pre = compose(*LOAD, WINDOW, SPACING | {"mode": "nearest"})
    spec = read_monai_bundle(spleen(tmp_path, preprocessing=pre)).spec
    assert (spec.sampling.scale, spec.sampling.order) == ("before", 0)


def test_images_of_several_keys_are_inputs(tmp_path):
    keys = ["t1", "flair"]
    pre = compose(
        *[one | {"keys": [*keys, "label"]} for one in LOAD],
        SPACING | {"keys": [*keys, "label"], "mode": ["bilinear", "bilinear", "nearest"]},
        {"_target_": "NormalizeIntensityd", "keys": keys, "channel_wise": True},
        {"_target_": "AsDiscreted", "keys": "label", "to_onehot": 2},
        {"_target_": "CropForegroundd", "keys": [*keys, "label"], "source_key": "t1"},
        {"_target_": "ConcatItemsd", "keys": keys, "name": "image"},
    )
    about = metadata("MR", ["T1", "FLAIR"], ["background", "lesion"])
    net = UNET | {"in_channels": 2}
    post = compose(SOFTMAX, ARGMAX)
    root = write_bundle(tmp_path / "two", config(net, pre, post), about, random_net(net))
    with pytest.raises(SpecError, match=r"CropForegroundd .* above the mean"):
        read_monai_bundle(root)
    transforms = pre["transforms"]
    transforms.insert(3, transforms.pop(6))
    changed(root, lambda said: said.update(preprocessing=pre))
    spec = read_monai_bundle(root).spec
    assert spec.input_names == ("t1", "flair")
    assert spec.sampling.crop == "nonzero"


def classifier(tmp_path, net, pre, post, names, shape, inputs=("image",)):
    said = config(net, pre, post)
    said["inferer"] = {"_target_": "SimpleInferer"}
    about = metadata("MR", list(inputs), names, shape)
    return write_bundle(tmp_path / "classifier", said, about, random_net(net))


DENSE = {
    "_target_": "DenseNet",
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 3,
    "init_features": 8,
    "growth_rate": 4,
    "block_config": [2, 2],
}


@pytest.mark.parametrize("several", [False, True])
def test_scores_are_those_of_monai(tmp_path, several):
    cut = {"_target_": "ResizeWithPadOrCropd", "keys": "image", "spatial_size": [32, 32, 32]}
    post = compose(SIGMOID, HALF) if several else compose(SOFTMAX, ARGMAX)
    pre = compose(*LOAD, SPACING | {"pixdim": [1.2, 1.2, 1.2]}, WINDOW, cut)
    root = classifier(tmp_path, DENSE, pre, post, ["none", "a|b", "c"], [32, 32, 32])
    imported = read_monai_bundle(root)
    assert (imported.spec.task, imported.spec.multilabel) == ("classification", several)
    names = ("no class", "a/b", "c") if several else ("none", "a|b", "c")
    assert imported.spec.class_names == names
    scan = ct_phantom()
    parser = ConfigParser()
    parser.read_config(root / "configs" / "inference.json")
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        prepare = parser.get_parsed_content("preprocessing")
        image = prepare({"image": write_volume(tmp_path / "a.nii.gz", scan)})["image"]
        net = parser.get_parsed_content("network_def").eval()
        net.load_state_dict(torch.load(root / "models" / "model.pt", weights_only=True))
        logits = net(image[None])[0].as_tensor()
    theirs = logits.sigmoid() if several else logits.softmax(dim=0)
    assert np.allclose(list(answer_of(imported, [scan]).scores.values()), theirs, atol=1e-4)


def test_color_pictures_are_one_input(tmp_path):
    net = {"_target_": "SEResNet50", "spatial_dims": 2, "in_channels": 3, "num_classes": 2}
    load = [
        {"_target_": "LoadImaged", "keys": "image"},
        {"_target_": "AsChannelFirstd", "keys": "image"},
    ]
    size = {"_target_": "Resized", "keys": "image", "spatial_size": [64, 64], "mode": "bilinear"}
    pre = compose(*load, size, {"_target_": "ScaleIntensityd", "keys": "image"})
    post = compose(ARGMAX | {"keys": ["pred"], "to_onehot": 2})
    root = classifier(tmp_path, net, pre, post, ["in body", "out body"], [64, 64], "RGB")
    imported = read_monai_bundle(root)
    spec = imported.spec
    assert (spec.inputs[0].channels, spec.roi_size, spec.spacing) == (3, (64, 64, 1), None)
    assert (spec.class_names, spec.orientation) == (("in body", "out body"), "LIA")
    assert "stretches each image to 64 × 64; here it keeps its proportions" in imported.card


def test_cleanup_comes_from_the_postprocessing(tmp_path):
    largest = transform("KeepLargestConnectedComponentd", "pred", applied_labels=[1, 2])
    small = transform("RemoveSmallObjectsd", "pred", min_size=100)
    holes = transform("FillHolesd", "pred", applied_labels=2)
    root = prostate(tmp_path)
    changed(
        root,
        lambda said: said.update(postprocessing=compose(ARGMAX, largest, small, holes, INVERT)),
    )
    imported = read_monai_bundle(root)
    assert imported.spec.cleanup == {
        "central gland": Cleanup(largest=True, min_ml=0.45),  # 100 voxels of 1.5 × 1.5 × 2 mm
        "peripheral zone": Cleanup(largest=True, min_ml=0.45, fill=True),
    }
    assert imported.spec.sampling.back == "probabilities"
    assert "interpolates between them" in imported.card


def test_one_output_of_a_classifier_is_yes_against_no(tmp_path):
    net = DENSE | {"out_channels": 1}
    cut = transform("CenterSpatialCropd", roi_size=[32, 32, 32])
    pre = compose(*LOAD, SPACING, WINDOW, cut)
    root = classifier(tmp_path, net, pre, compose(SIGMOID), ["nodule"], [32, 32, 32])
    imported = read_monai_bundle(root)
    assert imported.spec.class_names == ("no nodule", "nodule")
    with torch.inference_mode():
        logits = build_model(imported.spec).eval()(torch.randn(1, 1, 32, 32, 32))
    assert logits.shape == (1, 2)
    assert logits[0, 0] == 0


def test_unetr_of_older_bundles_is_known(tmp_path):
    net = {
        "_target_": "UNETR",
        "in_channels": 1,
        "out_channels": 2,
        "img_size": [32, 32, 32],
        "feature_size": 4,
        "hidden_size": 24,
        "mlp_dim": 24,
        "proj_type": "conv",
    }
    said = config(net, compose(*LOAD, SPACING, WINDOW), compose(SOFTMAX, ARGMAX))
    about = metadata("CT", ["image"], ["spleen"])
    root = write_bundle(tmp_path / "unetr", said, about, random_net(net))
    weights = root / "models" / "model.pt"
    state = torch.load(weights, weights_only=True)
    older = {key: value for key, value in state.items() if "norm_cross_attn" not in key}
    assert len(older) < len(state)
    torch.save(older, weights)
    changed(
        root,
        lambda said: said["network_def"].update(pos_embed=said["network_def"].pop("proj_type")),
    )
    imported = read_monai_bundle(root)
    assert imported.spec.network["proj_type"] == "conv"
    assert imported.spec.class_names == ("class 1",)
    assert "they are numbered" in imported.card
