"""MONAI bundles in the model zoo's style, written by MONAI itself, and MONAI's own answers."""

import json
import warnings
import zipfile
from copy import deepcopy

import nibabel as nib
import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.networks import nets

from medvision.models import build_model
from medvision.predictor import Predictor
from medvision.study import Study

LICENSE = "Copyright (c) Nobody\nLicensed under the Apache License, Version 2.0."
LOAD = [
    {"_target_": "LoadImaged", "keys": "image"},
    {"_target_": "EnsureChannelFirstd", "keys": "image"},
    {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
]
SPACING = {"_target_": "Spacingd", "keys": "image", "pixdim": [1.5, 1.5, 2.0], "mode": "bilinear"}
WINDOW = {
    "_target_": "ScaleIntensityRanged",
    "keys": "image",
    "a_min": -57,
    "a_max": 164,
    "b_min": 0,
    "b_max": 1,
    "clip": True,
}
INVERT = {
    "_target_": "Invertd",
    "keys": "pred",
    "transform": "@preprocessing",
    "orig_keys": "image",
    "nearest_interp": False,
    "to_tensor": True,
}
SOFTMAX = {"_target_": "Activationsd", "keys": "pred", "softmax": True}
SIGMOID = {"_target_": "Activationsd", "keys": "pred", "sigmoid": True}
ARGMAX = {"_target_": "AsDiscreted", "keys": "pred", "argmax": True}
HALF = {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.5}
SAVE = {"_target_": "SaveImaged", "keys": "pred", "output_dir": "@output_dir"}
UNET = {
    "_target_": "UNet",
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 2,
    "channels": [8, 16, 32],
    "strides": [2, 2],
    "num_res_units": 2,
    "norm": "batch",
}


def compose(*transforms):
    return {"_target_": "Compose", "transforms": [deepcopy(one) for one in transforms]}


def config(network, pre, post, roi=(32, 32, 32), overlap=0.5, **inferer):
    """A config as the zoo's spleen_ct_segmentation has it."""
    return {
        "imports": ["$import glob", "$import os"],
        "bundle_root": "/workspace/bundle",
        "output_dir": "$@bundle_root + '/eval'",
        "dataset_dir": "/workspace/data/Task09_Spleen",
        "datalist": "$list(sorted(glob.glob(@dataset_dir + '/imagesTs/*.nii.gz')))",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "network_def": dict(network),
        "network": "$@network_def.to(@device)",
        "preprocessing": pre,
        "dataset": {
            "_target_": "Dataset",
            "data": "$[{'image': i} for i in @datalist]",
            "transform": "@preprocessing",
        },
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1},
        "inferer": {
            "_target_": "SlidingWindowInferer",
            "roi_size": list(roi),
            "sw_batch_size": 4,
            "overlap": overlap,
            **inferer,
        },
        "postprocessing": post,
        "handlers": [{"_target_": "StatsHandler", "iteration_log": False}],
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "val_handlers": "@handlers",
            "amp": True,
        },
        "checkpointloader": {
            "_target_": "CheckpointLoader",
            "load_path": "$@bundle_root + '/models/model.pt'",
            "load_dict": {"model": "@network"},
        },
        "initialize": [
            "$monai.utils.set_determinism(seed=123)",
            "$@checkpointloader(@evaluator)",
        ],
        "run": ["$@evaluator.run()"],
    }


def metadata(modality, inputs, outputs, shape=(32, 32, 32), **more):
    """Metadata as the zoo has them; `inputs` and `outputs` are the names of channels."""

    def image(names, **said):
        return {
            "type": "image",
            "num_channels": len(names),
            "spatial_shape": list(shape),
            "dtype": "float32",
            "channel_def": {str(n): name for n, name in enumerate(names)},
            **said,
        }

    return {
        "schema": "https://example.org/meta_schema_20220324.json",
        "version": "0.5.3",
        "monai_version": "1.4.0",
        "task": "Decathlon spleen segmentation",
        "description": "A pre-trained model for volumetric (3D) segmentation of the spleen",
        "authors": "MONAI team",
        "copyright": "Copyright (c) MONAI Consortium",
        "data_source": "Task09_Spleen.tar from http://medicaldecathlon.com/",
        "eval_metrics": {"mean_dice": 0.96},
        "intended_use": "This is an example, not to be used for diagnostic purposes",
        "references": ["Xia et al. (2018)."],
        "network_data_format": {
            "inputs": {"image": image(inputs, modality=modality)},
            "outputs": {"pred": image(outputs)},
        },
        **more,
    }


def random_net(settings, seed=0):
    """A network with random weights; of each channel of a mask half a blob's voxels are above 0."""
    torch.manual_seed(seed)
    given = {key: value for key, value in settings.items() if key != "_target_"}
    net = getattr(nets, settings["_target_"].rpartition(".")[2])(**given).eval()
    dims, channels = given.get("spatial_dims", 3), given.get("in_channels", 1)
    steps = torch.meshgrid(*[torch.linspace(-2, 2, 32)] * dims, indexing="ij")
    blob = torch.exp(-sum(one**2 for one in steps)).expand(1, channels, *[32] * dims)
    with torch.inference_mode():
        logits = net(blob)[0]  # (N, I, J[, K]) or (N,)
        last = [m for m in net.modules() if getattr(m, "bias", None) is not None][-1]
        if logits.ndim > 1 and last.bias.shape == logits.shape[:1]:
            last.bias -= logits.flatten(1).median(dim=1).values
    return net


def write_bundle(root, config, metadata, net, wrapped=False):
    """Write a bundle's folder; return it."""
    for name in ("configs", "models", "docs"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "configs" / "inference.json").write_text(json.dumps(config, indent=4))
    (root / "configs" / "metadata.json").write_text(json.dumps(metadata, indent=4))
    (root / "LICENSE").write_text(LICENSE)
    (root / "docs" / "README.md").write_text("# Model overview\n")
    state = net.state_dict()
    torch.save({"model": state} if wrapped else state, root / "models" / "model.pt")
    return root


def changed(root, change):
    """Change a bundle's config in place."""
    path = root / "configs" / "inference.json"
    said = json.loads(path.read_text())
    change(said)
    path.write_text(json.dumps(said))
    return root


def zipped(root):
    """Zip a bundle as the zoo does, in a folder of its name; return the zip."""
    path = root.parent / f"{root.name}_v0.5.3.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for file in sorted(root.rglob("*")):
            target.write(file, f"{root.name}/{file.relative_to(root)}")
    return path


def write_volume(path, volume):
    nib.save(nib.Nifti1Image(volume.array[0].astype(np.float32), volume.affine), path)
    return str(path)


def monai_answer(root, images, linear=False):
    """Run a bundle as MONAI does; return its prediction (C, I, J, K) on the image's own grid.

    With `linear` probabilities come back to the scan, interpolated, before labels are decided.
    """
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # of readers that are not installed
        return _answer(root, images, linear)


def _answer(root, images, linear):
    parser = ConfigParser()
    parser.read_config(root / "configs" / "inference.json")
    parser["bundle_root"] = str(root)
    post = parser["postprocessing"]["transforms"]
    post = [one for one in post if one["_target_"] != "SaveImaged"]
    if linear:
        places = ["Activationsd", "Invertd", "AsDiscreted"]
        post = sorted(post, key=lambda one: places.index(one["_target_"]))
        post[1]["nearest_interp"] = False
    parser["postprocessing"]["transforms"] = post
    prepare = parser.get_parsed_content("preprocessing")
    net = parser.get_parsed_content("network_def").eval()
    found = torch.load(root / "models" / "model.pt", weights_only=True)
    net.load_state_dict(found.get("model", found))
    data = prepare({"image": images if len(images) > 1 else images[0]})
    pred = parser.get_parsed_content("inferer")(data["image"][None], net)[0]
    data["pred"] = MetaTensor(pred, meta=data["image"].meta)
    return np.asarray(parser.get_parsed_content("postprocessing")(data)["pred"])


def answer_of(imported, volumes):
    """What medvision says of a bundle's inputs."""
    model = build_model(imported.spec)
    model.load_state_dict(imported.states[0])
    study = Study("a", dict(zip(imported.spec.input_names, volumes, strict=True)))
    return Predictor(model, imported.spec, "cpu").predict(study)
