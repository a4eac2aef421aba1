"""Imports only go down, and never in a circle."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "medvision"

LAYERS = {
    0: "codes errors geometry volume study spec train_config prediction phantom files progress "
    "report report_masking report_headings text_spec cleanup_spec inference_spec intensity_spec "
    "from_json room pair_phantom explanation profile review facts calibration_spec "
    "spreadsheet fingerprint_spec",
    1: "io resample tags hidden_bytes",
    2: "transforms answer metatensor resize intensity drawer sliding between collect consensus "
    "memory augment "
    "models render losses metrics scores compare outputs fingerprint tfidf intervals words cleanup "
    "runtime openvino_model exported weighted measures delong statistics differences score_tables "
    "surface lesions mask_figures calibration conformal thresholds",
    3: "checkpoint pickles importers zoo transfer model_table dataset folds items survey plan "
    "plan_file processes train train_state train_log evaluate cross_validation predictor "
    "plan_table plan_text train_card ablate ablation_page audit audit_page attribution explain "
    "agreement auto_runtime runtime_cache execution portable portable_text calibrate occlusion",
    4: "owner sharing store pipeline whole jobs failure run_card export session batch cluster "
    "replay convert deidentify evaluation evaluation_files found_masks judged",
    5: "cli cli_train cli_datasets cli_files cli_audit cli_explain cli_export cli_import tables "
    "info_table extras cli_calibrate cli_evaluate __main__ __init__",
}
LEVEL = {name: level for level, names in LAYERS.items() for name in names.split()}
HEAVY = {0: {"torch", "monai", "nibabel", "pydicom", "PIL", "scipy"}, 1: {"torch", "monai"}}


def modules() -> dict[str, Path]:
    """Every module by its dotted name below medvision."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[0].startswith("_") and parts[0] not in ("__init__", "__main__"):
            continue  # apps and datasets, copied into a wheel
        found[".".join(p for p in parts if p != "__init__") or "__init__"] = path
    return found


def imports_of(path: Path) -> set[str]:
    """Dotted names that a module imports from anywhere inside it, type checking included."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names.add(node.module)
    return names


MODULES = modules()


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_only_go_down(name):
    top = name.split(".")[0]
    assert top in LEVEL, f"{top} has no layer: give it one in LAYERS"
    if name == "__init__":
        return  # names the public ones, resolved lazily
    for imported in imports_of(MODULES[name]):
        package, *rest = imported.split(".")
        if package == "medvision" and rest:
            assert LEVEL[rest[0]] <= LEVEL[top], f"{name} imports {imported}, which is above it"
        assert package not in HEAVY.get(LEVEL[top], set()), f"{name} imports {package}"
    knows = {i.split(".")[1] for i in imports_of(MODULES[name]) if i.startswith("medvision.")}
    if top in ("io", "outputs"):
        assert not knows & {"models", "checkpoint", "predictor"}, f"{name} knows of models"
    if LEVEL[top] == 3:
        assert "outputs" not in knows, f"{name} knows of outputs"


def test_no_circle():
    graph = {}
    for name, path in MODULES.items():
        if name == "__init__":
            continue
        inside = {
            i.removeprefix("medvision.") for i in imports_of(path) if i.startswith("medvision.")
        }
        graph[name] = {i for i in inside if i in MODULES and i != name}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"circle: {' → '.join([*path, name])}"
        if name not in done:
            for below in sorted(graph[name]):
                visit(below, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_files_stay_small():
    for path in MODULES.values():
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, path


def test_importing_medvision_is_light():
    code = (
        "import sys, medvision; medvision.Volume; "
        "print([m for m in ('torch', 'monai', 'nibabel', 'pydicom', 'PIL') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_a_network_of_our_own_does_not_wait_for_monai():
    code = (
        "import sys, medvision; medvision.load_predictor('hippocampus', 'cpu'); "
        "print([m for m in ('monai', 'transformers', 'sklearn') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_help_loads_nothing_heavy():
    code = (
        "import sys\n"
        "from medvision.cli import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = [m for m in ('torch', 'monai', 'nibabel', 'numpy') if m in sys.modules]\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


def test_every_public_name_resolves():
    import medvision

    assert all(hasattr(medvision, name) for name in medvision.__all__)
    with pytest.raises(AttributeError, match="no_such_name"):
        medvision.no_such_name  # noqa: B018
