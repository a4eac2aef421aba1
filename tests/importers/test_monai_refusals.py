"""What cannot be translated of a MONAI bundle is named; its code is not run."""

import json
import os
import zipfile

import pytest
import torch
from monai_bundles import (
    LOAD,
    SIGMOID,
    UNET,
    WINDOW,
    changed,
    compose,
    metadata,
    random_net,
    zipped,
)
from monai_zoo import spleen

from medvision.errors import DecodeError, SpecError
from medvision.importers.monai_bundle import is_monai_bundle, read_monai_bundle


def transform(name, **settings):
    return {"_target_": name, "keys": "image", **settings}


def insert(part, where="preprocessing"):
    return lambda said: said[where]["transforms"].insert(4, part)


def put(place, value):
    *way, last = place.split(".")

    def change(said):
        for key in way:
            said = said[int(key)] if isinstance(said, list) else said[key]
        said[int(last) if isinstance(said, list) else last] = value

    return change


PRE, POST = "preprocessing.transforms", "postprocessing.transforms"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (insert(transform("HistogramNormalized")), "HistogramNormalized .* has nothing for"),
        (insert(transform("scripts.Mine")), "code of the bundle's own, scripts.Mine, which is not"),
        (
            insert(transform("Lambdad", func="$lambda x: x"), "postprocessing"),
            "only code could tell",
        ),
        (insert(transform("Resized", spatial_size=[9, 9, 9])), "after Spacingd"),
        (insert(transform("CropForegroundd", select_fn="$lambda x: x > 1")), "has a select_fn"),
        (insert(transform("CropForegroundd", margin=5)), "has margin 5"),
        (put(f"{PRE}.3.pixdim", "$[@spacing] * 3"), "has no 'spacing'"),
        (put(f"{PRE}.3.pixdim", "$np.array([1, 1, 1])"), r"Spacingd .* pixdim = '\$np.array"),
        (put(f"{PRE}.3.pixdim", [1.5, 1.5, -1]), "needs voxel sizes above 0"),
        (put(f"{PRE}.3.diagonal", True), "Spacingd .* has diagonal = True"),
        (put(f"{PRE}.3.colour", 1), "Spacingd .* has colour, which medvision does not know"),
        (put(f"{PRE}.2.axcodes", "RAX"), "no three axes such as RAS"),
        (
            put(f"{PRE}.4.a_min", "$@evaluator.low()"),
            "ScaleIntensityRanged .* only code could tell",
        ),
        (put("preprocessing", "$Compose(@transforms)"), r"'\$Compose\(@transforms\)', which only"),
        (put(f"{POST}.0", SIGMOID), "AsDiscreted .* highest of several sigmoids"),
        (
            put("network_def._target_", "scripts.networks.UNesT"),
            "scripts.networks.UNesT, .* not run",
        ),
        (put("network_def._target_", "os.system"), "network_def is os.system"),
        (put("network_def._target_", "DiNTS"), "DiNTS, which medvision does not know"),
        (
            put("network_def.chanels", 1),
            "UNet .network_def. has chanels, which MONAI's UNet does not",
        ),
        (
            put("network_def.act", "$torch.nn.ReLU()"),
            r"act = '\$torch.nn.ReLU\(\)', which only code",
        ),
        (put("network_def.in_channels", 2), "does not fit monai/UNet: it has other shapes"),
        (put("network_def.channels", [8, 16]), "monai/UNet with"),
        (put("network_def.out_channels", 257), "256 structures; a mask holds 255"),
        (put("inferer.roi_size", [32, 32, -1]), "above 0 on each axis"),
        (put("inferer.roi_size", [32, 32, 30]), "its sides must divide by"),
        (put("inferer.overlap", [0.5, 0.5, 0.2]), "one share from 0"),
        (put("inferer.padding_mode", "reflect"), "has padding_mode 'reflect'"),
        (
            put("inferer._target_", "SaliencyInferer"),
            "SaliencyInferer .inferer. is no inferer that",
        ),
        (
            put("postprocessing", {"_target_": "Compose", "transforms": []}),
            "neither Activationsd nor",
        ),
        (
            put("checkpointloader.load_path", "$@dataset.path"),
            "load_path = .* only code could tell",
        ),
        (put("checkpointloader.load_path", "../other.pt"), "leads out of the bundle"),
    ],
)
def test_what_cannot_be_translated_is_named(tmp_path, change, why):
    (tmp_path / "other.pt").write_bytes(b"")
    root = changed(spleen(tmp_path), change)
    with pytest.raises(SpecError, match=why) as caught:
        read_monai_bundle(root)
    assert "inference.json" in str(caught.value) or "monai/UNet" in str(caught.value)


def test_a_scan_without_a_voxel_size_or_a_window_is_refused(tmp_path):
    root = spleen(tmp_path, preprocessing=compose(*LOAD, WINDOW))
    with pytest.raises(SpecError, match=r"no Spacingd, and .* names no voxel size in mm"):
        read_monai_bundle(root)
    root = spleen(tmp_path, inferer={"_target_": "SimpleInferer"})
    imported = read_monai_bundle(root)
    assert imported.spec.roi_size == (32, 32, 32)
    assert "shows the network whole scans" in imported.card
    path = root / "configs" / "metadata.json"
    about = metadata("CT", ["image"], ["background", "spleen"], ["8*n"] * 3)
    path.write_text(json.dumps(about))
    with pytest.raises(SpecError, match="give no spatial_shape of 3 numbers"):
        read_monai_bundle(root)


class Evil:
    def __reduce__(self):
        return os.system, ("touch owned",)


def test_weights_are_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = spleen(tmp_path)
    weights = root / "models" / "model.pt"
    torch.save({"model": Evil()}, weights)
    with pytest.raises(SpecError, match=r"model.pt wants to run code \((posix|os)\.system\)"):
        read_monai_bundle(root)
    assert not (tmp_path / "owned").exists()
    weights.write_bytes(b"nothing")
    with pytest.raises(SpecError, match=r"model.pt is damaged"):
        read_monai_bundle(root)
    torch.save({"epoch": 3}, weights)
    with pytest.raises(SpecError, match="holds no tensors by name"):
        read_monai_bundle(root)
    state = random_net(UNET).state_dict()
    torch.save({f"module.{key}": value for key, value in state.items()}, weights)
    read_monai_bundle(root)
    torch.save(dict(list(state.items())[1:]), weights)
    with pytest.raises(SpecError, match=r"does not fit monai/UNet: it lacks net\.model"):
        read_monai_bundle(root)
    weights.rename(weights.with_suffix(".ts"))
    with pytest.raises(SpecError, match=r"model\.ts is TorchScript, a program, and is not run"):
        read_monai_bundle(root)
    weights.with_suffix(".ts").unlink()
    with pytest.raises(SpecError, match="holds no weights"):
        read_monai_bundle(root)


def test_zips_are_read_safely(tmp_path):
    good = zipped(spleen(tmp_path))
    outside = tmp_path / "outside.zip"
    outside.write_bytes(good.read_bytes())
    with zipfile.ZipFile(outside, "a") as target:
        target.writestr("../evil.py", "print(1)")
    assert is_monai_bundle(outside)
    with pytest.raises(DecodeError, match="lie outside"):
        read_monai_bundle(outside)
    bomb = tmp_path / "bomb.zip"
    bomb.write_bytes(good.read_bytes())
    with zipfile.ZipFile(bomb, "a", zipfile.ZIP_DEFLATED) as target:
        target.writestr("spleen_ct_segmentation/models/model_big.pt", bytes(64 << 20))
    with pytest.raises(DecodeError, match="unpacks to more than"):
        read_monai_bundle(bomb)
    cut = tmp_path / "cut.zip"
    cut.write_bytes(good.read_bytes()[:-100])
    with pytest.raises(DecodeError, match="damaged"):
        read_monai_bundle(cut)


def test_a_link_out_of_a_folder_is_refused(tmp_path):
    root = spleen(tmp_path)
    weights = root / "models" / "model.pt"
    weights.rename(tmp_path / "elsewhere.pt")
    weights.symlink_to(tmp_path / "elsewhere.pt")
    with pytest.raises(SpecError, match="leads out of the bundle"):
        read_monai_bundle(root)
