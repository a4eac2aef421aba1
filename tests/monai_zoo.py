"""Bundles modelled on the zoo's, small and with random weights, and scans for them."""

import numpy as np
from monai_bundles import (
    ARGMAX,
    HALF,
    INVERT,
    LOAD,
    SAVE,
    SIGMOID,
    SOFTMAX,
    SPACING,
    UNET,
    WINDOW,
    compose,
    config,
    metadata,
    random_net,
    write_bundle,
)

from medvision.phantom import Ellipsoid, ellipsoid_phantom

PIL = np.array([[0, 0, -2.6, 40], [-1.1, 0, 0, 30], [0, -0.9, 0, 35], [0, 0, 0, 1.0]])
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
NONZERO = {"_target_": "NormalizeIntensityd", "keys": "image", "nonzero": True}
REAL = {"_target_": "EnsureTyped", "keys": "image", "device": "@device"}


def ct_phantom(affine=PIL, shape=(60, 70, 26), seed=0):
    """A body with a bright organ in air."""
    organ = Ellipsoid((5, 5, 0), (9, 9, 8), 1, 140.0)
    image, _ = ellipsoid_phantom(
        shape, affine, [Ellipsoid((0, 0, 0), (25, 22, 20), 1, 60.0), organ], noise=15, seed=seed
    )
    return image.with_array((image.array - 200 * (image.array < 30)).astype(np.float32))


def mr_phantom(affine, shape, seed):
    """The same with 0 around it."""
    image = ct_phantom(affine, shape, seed)
    return image.with_array(np.where(image.array > 0, image.array * (1 + seed), 0))


def spleen(tmp_path, name="spleen_ct_segmentation", **changes):
    pre = compose(*LOAD, SPACING, WINDOW, REAL)
    said = config(UNET, pre, compose(SOFTMAX, INVERT, ARGMAX, SAVE))
    about = metadata("CT", ["image"], ["background", "spleen"])
    return write_bundle(tmp_path / name, said | changes, about, random_net(UNET))


def brats(tmp_path, painted=True):
    net = {
        "_target_": "SegResNet",
        "blocks_down": [1, 1, 1],
        "blocks_up": [1, 1],
        "init_filters": 8,
        "in_channels": 4,
        "out_channels": 3,
        "dropout_prob": 0.2,
    }
    paint = {
        "_target_": "Lambdad",
        "keys": "pred",
        "func": "$lambda x: torch.where(x[[2]] > 0, 4, torch.where(x[[0]] > 0, 1, "
        "torch.where(x[[1]] > 0, 2, 0)))",
    }
    load = {"_target_": "LoadImaged", "keys": "image"}
    post = [SIGMOID, INVERT | {"meta_keys": "pred_meta_dict"}, HALF, *([paint] * painted), SAVE]
    said = config(net, compose(load, NONZERO | {"channel_wise": True}), compose(*post))
    said["ckpt_dir"] = "$@bundle_root + '/models'"
    del said["checkpointloader"]
    said["handlers"].append(
        {
            "_target_": "CheckpointLoader",
            "load_path": "$@ckpt_dir + '/model.pt'",
            "load_dict": {"model": "@network"},
        }
    )
    about = metadata(
        "MR",
        ["T1c", "T1", "T2", "FLAIR"],
        ["Tumor core", "Whole tumor", "Enhancing tumor"],
        ["8*n", "8*n", "8*n"],
        image_classes="4 channel data, T1c, T1, T2, FLAIR at 1x1x1 mm",
        data_source="https://www.med.upenn.edu/sbia/brats2018/data.html",
    )
    root = tmp_path / "brats_mri_segmentation"
    return write_bundle(root, said, about, random_net(net), wrapped=True)


def whole_body(tmp_path):
    net = {
        "_target_": "SegResNet",
        "spatial_dims": 3,
        "in_channels": 1,
        "out_channels": 4,
        "init_filters": 8,
        "blocks_down": [1, 1],
        "blocks_up": [1],
    }
    pre = compose(
        {"_target_": "LoadImaged", "keys": "@image_key"},
        {"_target_": "EnsureTyped", "keys": "@image_key"},
        {"_target_": "EnsureChannelFirstd", "keys": "@image_key"},
        {"_target_": "Orientationd", "keys": "@image_key", "axcodes": "RAS"},
        SPACING | {"keys": "@image_key", "pixdim": "@pixdim"},
        NONZERO | {"keys": "@image_key"},
        {"_target_": "ScaleIntensityd", "keys": "@image_key", "minv": -1.0, "maxv": 1.0},
    )
    invert = INVERT | {"nearest_interp": True, "orig_keys": "@image_key"}
    post = compose(SOFTMAX, ARGMAX, invert, SAVE)
    said = config(net, pre, post, overlap="@displayable_configs#sw_overlap", mode="gaussian")
    said["inferer"] |= {"padding_mode": "replicate", "device": "@device"}
    said |= {
        "displayable_configs": {"highres": True, "sw_overlap": 0.25, "sw_batch_size": 1},
        "image_key": "image",
        "pixdim": "$[1.5, 1.5, 1.5] if @displayable_configs#highres else [3.0, 3.0, 3.0]",
        "modelname": "$'model.pt' if @displayable_configs#highres else 'model_lowres.pt'",
    }
    said["checkpointloader"]["load_path"] = "$@bundle_root + '/models/' + @modelname"
    about = metadata("CT", ["image"], ["background", "spleen", "kidney_right", "kidney_left"])
    return write_bundle(tmp_path / "wholeBody_ct_segmentation", said, about, random_net(net))


def one_channel(tmp_path):
    net = {
        "_target_": "monai.networks.nets.BasicUnet",
        "features": [8, 8, 8, 8, 8, 8],
        "out_channels": 1,
    }
    largest = {"_target_": "KeepLargestConnectedComponentd", "keys": "pred", "applied_labels": [1]}
    percentiles = {
        "_target_": "ScaleIntensityRangePercentilesD",
        "keys": ["image"],
        "lower": 1,
        "upper": 99,
        "b_min": "$-@one",
        "b_max": "@one",
        "clip": True,
    }
    said = config(
        net,
        compose(*LOAD, SPACING | {"pixdim": "$[@mm] * 3"}, percentiles),
        compose(SIGMOID, INVERT, HALF, largest, SAVE),
    )
    said |= {"mm": 1.7, "one": 1}
    about = metadata("MRI", ["image"], ["hippocampus"])
    return write_bundle(tmp_path / "one", said, about, random_net(net, 3))


def prostate(tmp_path):
    net = {
        "_target_": "DynUNet",
        "spatial_dims": 3,
        "in_channels": 1,
        "out_channels": 3,
        "kernel_size": [3, [3, 3, 1], 3],
        "strides": [1, [2, 2, 1], 2],
        "upsample_kernel_size": [[2, 2, 1], 2],
        "filters": [8, 16, 16],
        "deep_supervision": False,
    }
    pre = compose(
        *LOAD,
        SPACING,
        {"_target_": "ScaleIntensityd", "keys": "image", "minv": 0, "maxv": 1},
        {"_target_": "NormalizeIntensityd", "keys": "image"},
    )
    said = config(net, pre, compose(INVERT, ARGMAX, SAVE))
    about = metadata("MR", ["image"], ["background", "central gland", "peripheral zone"])
    return write_bundle(tmp_path / "prostate_mri_anatomy", said, about, random_net(net, 1))


def short_axis(tmp_path):
    net = UNET | {"spatial_dims": 2, "out_channels": 3}
    pre = compose(
        *LOAD,
        SPACING | {"pixdim": [1.5, 1.5, 4.0]},
        {"_target_": "ScaleIntensityd", "keys": "image"},
    )
    said = config(net, pre, compose(SOFTMAX, INVERT, ARGMAX, SAVE))
    said["inferer"] = {"_target_": "SliceInferer", "roi_size": [48, 48], "spatial_dim": 2}
    about = metadata("MR", ["image"], ["background", "pool", "muscle"], (48, 48))
    return write_bundle(tmp_path / "ventricular_short_axis", said, about, random_net(net, 2))


KINDS = {
    "spleen": (spleen, [ct_phantom()]),
    "brats": (brats, [mr_phantom(LPS, (44, 52, 40), n) for n in range(4)]),
    "whole body": (whole_body, [ct_phantom()]),
    "one channel": (one_channel, [ct_phantom()]),
    "prostate": (prostate, [ct_phantom()]),
    "slices": (short_axis, [ct_phantom()]),
}
