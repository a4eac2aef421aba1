"""What reads models, tables of cases and results: the suite that needs PyTorch."""

import hashlib
import json
from functools import partial

import nibabel as nib
import numpy as np
import torch
from fuzzing.changes import read_tree
from fuzzing.dicoms import ball
from fuzzing.target import Target, each, files_in

from medvision.ablate import read_answers
from medvision.calibration_spec import Calibration
from medvision.checkpoint import load_spec, save_model
from medvision.dataset import is_multilabel, read_cases, task_of
from medvision.exported import read_about
from medvision.geometry import box_slices, parse_box
from medvision.importers import find_importer, import_model
from medvision.intensity_spec import Intensity
from medvision.judged import judged_results
from medvision.memory import resident
from medvision.models import build_model
from medvision.outputs.batch_page import batch_html
from medvision.outputs.saved import card_of, find_saved, read_saved
from medvision.plan_file import Plan, read_plan, write_plan
from medvision.portable import check_export, export_model
from medvision.predictor import load_predictor
from medvision.replay import replay
from medvision.run_card import read_run_card
from medvision.scores import read_scores
from medvision.spec import InputSpec, ModelSpec
from medvision.store import Store
from medvision.study import Study
from medvision.train_config import TrainConfig
from medvision.train_log import keep_until
from medvision.train_state import read_state as read_training
from medvision.transfer import load_weights, read_state
from medvision.zoo import BUNDLED, all_models

ONNX = (  # an IR version, an opset, and a graph without a node
    b"\x08\x08:\x1c\n\x06\n\x01x\x12\x01y\x12\x01gZ\t\n\x01x\x12\x04\n\x02\x08\x01b\x05\n\x01y\x12\0B\x02\x10\x12"
)
CONV, NORM = "torch.nn.modules.conv.Conv3d", "torch.nn.modules.instancenorm.InstanceNorm3d"
SCAN = Study("ball", {"image": ball()})


def small_spec(**more):
    """Return the spec of a network that takes no time."""
    return ModelSpec(
        name="small",
        task="segmentation",
        architecture="unet3d",
        class_names=("ball",),
        spacing=(1.5, 1.5, 2.0),
        roi_size=(16, 16, 8),
        network={"features": [4, 8]},
        inputs=(InputSpec(intensity=Intensity("window", low=0, high=255)),),
        **more,
    )


def classifying_spec():
    """Return that of a small classification, calibrated."""
    return ModelSpec(
        name="small",
        task="classification",
        architecture="cnn3d",
        class_names=("no", "yes"),
        spacing=None,
        roi_size=(8, 8, 4),
        network={"features": [4, 8], "norm": "batch"},
        calibration=Calibration(1.5, "val", 40, 0.1, 0.7, 30, {"yes": 0.4}, "Youden"),
    )


def models(folder):
    """Return small model folders."""
    found = []
    for name, spec in (("masks", small_spec()), ("classes", classifying_spec())):
        torch.manual_seed(0)
        state = build_model(spec).state_dict()
        found.append(read_tree(save_model(folder / name, spec, state, f"# {name}\n")))
    return found


def specs(folder):
    """Return the specs of the bundled models, and of an exported one, without weights."""
    found = [{"spec.json": (one / "spec.json").read_bytes()} for one in sorted(BUNDLED.glob("*/"))]
    about = {"files": ["member_0.onnx"], "divisor": [2, 2, 2], "sha256": {}, "format": "onnx"}
    weightless = {"portable.json": json.dumps(about).encode(), "member_0.onnx": b"\0" * 40}
    return [*(one for one in found if one), {**found[0], **weightless}]


def exported(folder):
    """Return an exported model, whose files are held against its own list of them."""
    spec = small_spec()
    made = save_model(folder / "made", spec, build_model(spec).state_dict(), "# masks\n")
    export_model(made, folder / "out")
    tree = read_tree(folder / "out")
    about = json.loads(tree["portable.json"])
    about |= {
        "files": ["member-1.onnx"],
        "sha256": {"member-1.onnx": hashlib.sha256(ONNX).hexdigest()},
    }
    onnx = {**tree, "portable.json": json.dumps(about).encode(), "member-1.onnx": ONNX}
    return [tree, {name: data for name, data in onnx.items() if name[-3:] not in ("xml", "bin")}]


def nnunets(folder):
    """Return a results folder of nnU-Net, with a checkpoint that holds few of its weights."""
    usual = {
        "data_identifier": "any",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [16, 16, 16],
        "spacing": [1.5, 1.5, 1.5],
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
    }
    for what, order in (("data", 3), ("seg", 1), ("probabilities", 1)):
        usual[f"resampling_fn_{what}"] = "resample_data_or_seg_to_shape"
        usual[f"resampling_fn_{what}_kwargs"] = {
            "is_seg": what == "seg",
            "order": order,
            "order_z": 0,
            "force_separate_z": None,
        }
    given = {
        "n_stages": 2,
        "features_per_stage": [4, 8],
        "conv_op": CONV,
        "kernel_sizes": [[3, 3, 3], [3, 3, 3]],
        "strides": [[1, 1, 1], [2, 2, 2]],
        "n_conv_per_stage": [1, 1],
        "n_conv_per_stage_decoder": [1],
        "conv_bias": True,
        "norm_op": NORM,
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    where = "dynamic_network_architectures.architectures.unet.PlainConvUNet"
    usual["architecture"] = {"network_class_name": where, "arch_kwargs": given,
                             "_kw_requires_import": ["conv_op", "norm_op", "nonlin"]}  # fmt: skip
    facts = {"mean": 90.0, "std": 60.0, "percentile_00_5": -20.0, "percentile_99_5": 240.0}
    plans = {
        "dataset_name": "Dataset999_Phantom",
        "plans_name": "nnUNetPlans",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "image_reader_writer": "SimpleITKIO",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": facts},
        "configurations": {"parent": usual, "3d_fullres": {"inherits_from": "parent"}},
    }
    dataset = {"channel_names": {"0": "MR"}, "labels": {"background": 0, "ball": 1},
               "numTraining": 1, "file_ending": ".nii.gz"}  # fmt: skip
    weights = {"encoder.stages.0.0.convs.0.conv.weight": torch.zeros(4, 1, 3, 3, 3)}
    held = {
        "network_weights": weights,
        "init_args": {"configuration": "3d_fullres"},
        "current_epoch": 2,
        "trainer_name": "nnUNetTrainer",
        "logging": {"dice": [np.float64(0.5)]},
        "inference_allowed_mirroring_axes": [0, 1, 2],
    }
    (folder / "nnunet" / "fold_0").mkdir(parents=True, exist_ok=True)
    torch.save(held, folder / "nnunet" / "fold_0" / "checkpoint_final.pth")
    tree = read_tree(folder / "nnunet")
    return [{**tree, "plans.json": json.dumps(plans).encode(),
             "dataset.json": json.dumps(dataset).encode()}]  # fmt: skip


def cases(folder):
    """Return tables of cases with their files, of scores, and a plan."""
    image, mask = (nib.Nifti1Image(ball().array[0], ball().affine).to_bytes(),) * 2
    plan = Plan(small_spec(), TrainConfig(), {"roi_size": "small"})
    text = write_plan(plan, folder / "plan.json").read_bytes()
    return [
        {
            "cases.csv": b"case_id,image,mask,split,group,sex,age,report\n"
            b"a,a.nii,b.nii,train,p,F,063Y,none\nb,b.nii,a.nii,val,q,M,41,\n",
            "a.nii": image,
            "b.nii": mask,
        },
        {"cases.csv": b"case_id,image,label,by_stage,report_file\na,a.nii,x|y,1,r.txt\n"
         b"b,a.nii,none,2,\n", "a.nii": image, "r.txt": b"FINDINGS: none"},
        {"scores.csv": b"case_id,structure,dice,hd95_mm,truth_ml,error_ml,confidence\n"
         b"a,ball,0.5,3.5,2.5,-0.5,0.9\n"},
        {"scores.csv": b"case_id,truth,no_probability,yes_probability\na,yes,0.25,0.75\n"},
        {"answers.csv": b"case_id,truth,no,yes,no_image_alone,yes_image_alone\n"
         b"a,yes,.2,.8,.1,.9\n"},
        {"plan.json": text},
        {"a.box": b"-2.5:7.5,-1:7,0:9"},
        {"log.log": b"step,what,value,seconds\n1,loss,0.50000,1.0\n9,loss,0.40000,3.5\n"},
    ]  # fmt: skip


def trainings(folder):
    """Return the state of a training."""
    folder.mkdir(parents=True, exist_ok=True)
    held = {"step": 3, "settings": "{}", "best": (0.5, 3, 0, 3), "network": {"a": torch.ones(3)}}
    torch.save(held, folder / "state.pt")
    return [read_tree(folder)]


def results(folder):
    """Return folders of results, with their run card and store."""
    row = b"case_id,source,status,reason,mask,ball_ml,ball_confidence\n"
    outputs = {"nifti": {"file": "a.nii.gz", "sha256": "0"}, "uncertainty": {"file": "a_u.nii.gz"}}
    case = {"case_id": "a", "source": "scan.nii", "study_uid": "", "series": [], "box": None,
            "status": "done", "reason": "", "input_sha256": "0", "outputs": outputs}  # fmt: skip
    box = {"low": [0, 0, 0], "high": [9, 9, 9], "name": "all", "space": "scan"}
    card = {
        "command": ["medvision", "predict"],
        "model": {"name": "small", "given_as": "model", "sha256": "0"},
        "formats": ["nifti"],
        "resolved": {"device": "cpu", "threads": 1, "runtime": "torch eager", "tta": False},
        "cases": [case, {**case, "case_id": "b", "box": box}],
    }
    table = row + b"a,scan.nii,done,,a.nii.gz,1.5,0.9\nb,scan.nii,failed,'=x,,,\n"
    classes = b"case_id,source,status,predicted,no_probability\na,scan.nii,done,no,0.75\n"
    store = folder / "store"
    store.mkdir(parents=True, exist_ok=True)
    with Store(store) as base:
        base.note({"set model": "small"})
    scan = nib.Nifti1Image(ball().array[0], ball().affine).to_bytes()
    kept = {"run.json": json.dumps(card).encode(), "scan.nii": scan}
    return [
        {"results.csv": table, **kept},
        {"results.csv": classes, **kept},
        {
            name: data
            for name, data in read_tree(store).items()
            if not name.endswith(("wal", "shm"))
        },
    ]


def spec(folder):
    """Read the spec alone, as menus do."""
    load_spec(folder)


def model(folder):
    """Load a model, and ask it."""
    predictor = load_predictor(folder, "cpu", max_ram=resident() + 1e9, show=False)
    predictor.predict(SCAN)


def runs(folder):
    """Test an exported model by the window that it brings, and ask it."""
    each(partial(check_export, folder))
    model(folder)


def listed(folder):
    """List the models at and below a folder, and what an exported one says of itself."""
    each(partial(all_models, [folder]))
    read_about(folder)


def weights(folder):
    """Take weights from a file for another network."""
    network = build_model(small_spec())
    for path in files_in(folder):
        if path.suffix in (".safetensors", ".pth", ".pt"):
            each(partial(read_state, path))
            each(partial(load_weights, network, path))


def foreign(folder):
    """Import a model of another toolkit."""
    if find_importer(folder):
        import_model(folder, folder / "imported")


def table(folder):
    """Read tables of cases, scores and answers, and plans."""
    for path in files_in(folder):
        if path.suffix == ".csv":
            each(partial(task_of, path))
            each(lambda path=path: is_multilabel(read_cases(path, task="classification")))
            for read in (read_cases, read_scores):
                each(partial(read, path))
            each(partial(read_answers, path, ("no", "yes"), []))
        elif path.suffix == ".json":
            each(partial(read_plan, path))
        elif path.suffix == ".log":
            keep_until(path, 5)
        elif path.suffix == ".box":
            each(partial(boxed, path))


def boxed(path):
    """Cut a box out of a scan, its words as somebody wrote them."""
    scan = SCAN.volumes["image"]
    box_slices(scan.affine, scan.shape, parse_box(path.read_text("utf-8", "replace")))


def state(folder):
    """Read what a training left."""
    for path in files_in(folder):
        each(partial(read_training, path, torch.device("cpu")))


def saved(folder):
    """Read results as the app does."""
    for found in find_saved(folder):
        result = read_saved(found)
        result.studies_of([])
        batch_html(result, card_of(found))
        each(partial(judged_results, found))
        for row in result.rows:
            result.mask_of(row)
            result.uncertainty_of(row)


def card(folder):
    """Read a run card, and repeat the run."""
    read_run_card(folder)
    replay(folder, folder / "again", show=False)


def store(folder):
    """Open the store of a run."""
    with Store(folder) as base:
        base.about()
        base.studies()


TARGETS = {
    "spec": Target(specs, (spec, listed), 22),
    "model": Target(models, (spec, model, weights), 18),
    "exported": Target(exported, (spec, listed, runs), 10),
    "nnunet": Target(nnunets, (foreign, weights), 20),
    "cases": Target(cases, (table,), 14),
    "training": Target(trainings, (state,), 2),
    "results": Target(results, (saved, card, store), 14),
}
