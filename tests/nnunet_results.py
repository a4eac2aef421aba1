"""nnU-Net itself, where it is installed: results folders as it writes them, and its own masks."""

import json
import os
import warnings
from importlib.util import find_spec
from unittest import mock

import nibabel as nib
import numpy as np
import pytest
import torch

PEERS = (
    *("nnunetv2", "dynamic_network_architectures", "acvl_utils", "batchgenerators"),
    *("batchgeneratorsv2", "blosc2", "cc3d", "httpx", "msgpack", "ndindex", "numexpr", "seaborn"),
)
MISSING = [name for name in PEERS if find_spec(name) is None]
needs_nnunet = pytest.mark.skipif(
    bool(MISSING),
    reason=f"needs nnU-Net beside it: no {', '.join(MISSING)} (make test installs it)",
)
THREADS = "nnUNet_def_n_proc"
WHERE = "dynamic_network_architectures.architectures.unet"
RESAMPLING = "resample_data_or_seg_to_shape"


def with_peace(function):
    """Run what warns of all kinds of things that are not ours."""

    def run(*args, **kwargs):
        for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
            os.environ.setdefault(name, os.devnull)
        os.environ.setdefault(THREADS, "1")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(*args, **kwargs)

    return run


def architecture(dims, features, strides, kernels, convs=2, residual=False):
    """Return a network as nnU-Net 2.3 and later write it down."""
    stages = len(features)
    name = "ResidualEncoderUNet" if residual else "PlainConvUNet"
    given = {
        "n_stages": stages,
        "features_per_stage": list(features),
        "conv_op": f"torch.nn.modules.conv.Conv{dims}d",
        "kernel_sizes": kernels,
        "strides": strides,
        "n_blocks_per_stage" if residual else "n_conv_per_stage": [convs] * stages,
        "n_conv_per_stage_decoder": [1 if residual else convs] * (stages - 1),
        "conv_bias": True,
        "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dims}d",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    asks = ["conv_op", "norm_op", "dropout_op", "nonlin"]
    return {
        "architecture": {
            "network_class_name": f"{WHERE}.{name}",
            "arch_kwargs": given,
            "_kw_requires_import": asks,
        }
    }


def older(features, strides, kernels, residual=False):
    """Return a network as nnU-Net 2.0 to 2.2 wrote it down."""
    return {
        "UNet_class_name": "ResidualEncoderUNet" if residual else "PlainConvUNet",
        "UNet_base_num_features": features[0],
        "unet_max_num_features": max(features),
        "n_conv_per_stage_encoder": [2] * len(features),
        "n_conv_per_stage_decoder": [2] * (len(features) - 1),
        "num_pool_per_axis": [len(features) - 1] * len(kernels[0]),
        "pool_op_kernel_sizes": strides,
        "conv_kernel_sizes": kernels,
    }


def plans_of(name, config, channels=1, transpose=(0, 1, 2), reader="SimpleITKIO"):
    """Return plans with one configuration, and another that it inherits from."""
    usual = {
        "data_identifier": "any",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "median_image_size_in_voxels": [64, 64, 64],
        "normalization_schemes": ["ZScoreNormalization"] * channels,
        "use_mask_for_norm": [False] * channels,
        "resampling_fn_data": RESAMPLING,
        "resampling_fn_seg": RESAMPLING,
        "resampling_fn_data_kwargs": {
            "is_seg": False,
            "order": 3,
            "order_z": 0,
            "force_separate_z": None,
        },
        "resampling_fn_seg_kwargs": {
            "is_seg": True,
            "order": 1,
            "order_z": 0,
            "force_separate_z": None,
        },
        "resampling_fn_probabilities": RESAMPLING,
        "resampling_fn_probabilities_kwargs": {
            "is_seg": False,
            "order": 1,
            "order_z": 0,
            "force_separate_z": None,
        },
        "batch_dice": False,
    }
    facts = {"mean": 90.0, "std": 60.0, "percentile_00_5": -20.0, "percentile_99_5": 240.0}
    return {
        "dataset_name": "Dataset999_Phantom",
        "plans_name": "nnUNetPlans",
        "transpose_forward": list(transpose),
        "transpose_backward": [list(transpose).index(axis) for axis in range(3)],
        "image_reader_writer": reader,
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {str(n): facts for n in range(channels)},
        "configurations": {"parent": usual, name: {"inherits_from": "parent", **config}},
    }


def dataset_of(labels=None, channels=("MR",), **more):
    """Return a dataset.json."""
    return {
        "channel_names": {str(n): name for n, name in enumerate(channels)},
        "labels": labels or {"background": 0, "ball": 1, "shell": 2},
        "numTraining": 1,
        "file_ending": ".nii.gz",
        **more,
    }


@with_peace
def network_of(plans, dataset, name):
    """Return nnU-Net's own network of a configuration, as its trainer builds it."""
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    config = PlansManager(json.loads(json.dumps(plans))).get_configuration(name)
    labels = PlansManager(plans).get_label_manager(dataset)
    return get_network_from_plans(
        config.network_arch_class_name,
        config.network_arch_init_kwargs,
        config.network_arch_init_kwargs_req_import,
        len(dataset["channel_names"]),
        labels.num_segmentation_heads,
        deep_supervision=False,
    )


def random_network(plans, dataset, name, seed):
    """Return a network that has learned nothing, but whose norms and biases are all in use."""
    torch.manual_seed(seed)
    network = network_of(plans, dataset, name)
    for key, value in network.named_parameters():
        if key.endswith("norm.weight"):
            torch.nn.init.uniform_(value, 0.7, 1.3)
        elif key.endswith("bias") and "seg_layers" not in key:
            torch.nn.init.normal_(value, std=0.3)
    return network


def write_results(folder, plans, dataset, name, networks, mirror=None, file="checkpoint_final.pth"):
    """Write a results folder with one fold for each network, as nnU-Net's trainer does."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(dataset))
    for fold, network in enumerate(networks):
        (folder / f"fold_{fold}").mkdir(exist_ok=True)
        optimizer = torch.optim.SGD(network.parameters(), 1e-2, momentum=0.99, nesterov=True)
        held = {
            "network_weights": network.state_dict(),
            "optimizer_state": optimizer.state_dict(),
            "grad_scaler_state": None,
            "logging": {"mean_fg_dice": [np.float64(0.5)], "dice": [[np.float32(0.5), 0.4]]},
            "_best_ema": np.float64(0.5),
            "current_epoch": 1000,
            "init_args": {
                "plans": plans,
                "configuration": name,
                "fold": fold,
                "dataset_json": dataset,
                "device": torch.device("cpu"),
            },
            "trainer_name": "nnUNetTrainer",
            "inference_allowed_mirroring_axes": mirror,
        }
        torch.save(held, folder / f"fold_{fold}" / file)
    return folder


@with_peace
def own_mask(folder, images, out, folds=(0,), mirroring=False, precise=False):
    """Return the mask (I, J, K) that nnU-Net's own predictor writes for files of one case.

    It adds up logits in half precision, which decides where they nearly tie: all over the place in
    a network that has learned nothing. `precise` makes that single precision.
    """
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(
        use_mirroring=mirroring, device=torch.device("cpu"), allow_tqdm=False
    )
    predictor.initialize_from_trained_model_folder(str(folder), folds, "checkpoint_final.pth")
    reader = predictor.plans_manager.image_reader_writer_class()
    array, facts = reader.read_images([str(one) for one in images])
    half = torch.float32 if precise else torch.half
    with mock.patch.object(torch, "half", half):
        predictor.predict_single_npy_array(array, facts, None, str(out), False)
    return np.asarray(nib.load(f"{out}.nii.gz").dataobj).astype(np.uint8)


def write_scan(path, shape, affine, seed=0, zero_border=0):
    """Write a scan of smooth noise and two balls, in int16; 0 around it where that is asked."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"))
    waves = sum(
        np.cos(np.tensordot(rng.normal(size=3) * 4, grid, 1) + rng.uniform(0, 6)) for _ in range(6)
    )
    first = np.linalg.norm(grid - 0.2, axis=0) < 0.5
    second = np.linalg.norm(grid + 0.4, axis=0) < 0.3
    values = 100 + 20 * waves + 60 * first - 50 * second + rng.normal(size=shape) * 4
    values = np.round(values).astype(np.int16)
    if zero_border:
        inner = tuple(slice(zero_border, n - zero_border) for n in shape)
        cut = np.zeros(shape, np.int16)
        cut[inner] = values[inner]
        cut[tuple(n // 2 for n in shape)] = 0  # a hole
        values = cut
    nib.save(nib.Nifti1Image(values, affine), path)
    return path


def turned(spacing, order=(0, 1, 2), signs=(1, 1, 1), degrees=0.0, origin=(11.0, -7.0, 23.0)):
    """Return an affine whose stored axes run along world axes `order`, tilted about x."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (world, sign) in enumerate(zip(order, signs, strict=True)):
        affine[world, axis] = sign * spacing[axis]
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    tilt = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    affine[:3, :3] = tilt @ affine[:3, :3]
    affine[:3, 3] = origin
    return affine


def dice(mine, theirs):
    """Return the Dice of each label that either has."""
    return {
        int(label): 2
        * float(((mine == label) & (theirs == label)).sum())
        / float((mine == label).sum() + (theirs == label).sum())
        for label in np.union1d(np.unique(mine), np.unique(theirs))
    }


ONES, TWOS, THREES = [1, 1, 1], [2, 2, 2], [3, 3, 3]
FLAT, PLANE = [1, 2, 2], [1, 3, 3]
WINDOW = (24, 32, 24)
BRATS = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": [3]}


def save(tmp_path, name, config, dataset=None, folds=1, mirror=None, seed=0, **plans):
    """Write a results folder of random networks."""
    dataset = dataset or dataset_of()
    made = plans_of(name, config, len(dataset["channel_names"]), **plans)
    networks = [random_network(made, dataset, name, seed + n) for n in range(folds)]
    folder = tmp_path / f"nnUNetTrainer__nnUNetPlans__{name}"
    return write_results(folder, made, dataset, name, networks, mirror)


def small(**more):
    """Return a small network in 3D of even sides."""
    return {
        "patch_size": [32, 32, 32],
        "spacing": [1.5, 1.5, 1.5],
        **architecture(3, (6, 12, 16), [ONES, TWOS, TWOS], [THREES] * 3),
        **more,
    }
