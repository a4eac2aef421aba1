"""Models by name or path, those of other toolkits among them: found again without reading them."""

import json
import shutil

import pytest
from monai_bundles import zipped
from monai_zoo import spleen

from medvision import importers
from medvision.errors import SpecError
from medvision.importers import content_of, find_importer
from medvision.zoo import all_models, bundled_models, find_model


@pytest.fixture
def kept(tmp_path, monkeypatch):
    folder = tmp_path / "kept"
    monkeypatch.setenv("MEDVISION_IMPORTED", str(folder))
    return folder


def broken(folder):
    """Write a bundle whose network is not known."""
    root = spleen(folder)
    path = root / "configs" / "inference.json"
    said = json.loads(path.read_text())
    said["network_def"]["_target_"] = "DiNTS"
    path.write_text(json.dumps(said))
    return root


def test_a_model_that_cannot_be_imported_does_not_hide_the_others(tmp_path, kept, capsys):
    bad, good = broken(tmp_path / "bad"), spleen(tmp_path / "good")
    models = all_models([bad, good])
    assert set(models) == {*bundled_models(), good.name}
    assert models[good.name].parent == kept
    said = capsys.readouterr().err
    assert f"{bad} is left out" in said
    assert "DiNTS" in said
    assert all_models([bad, good]) == models
    assert capsys.readouterr().err == ""
    with pytest.raises(SpecError, match="DiNTS"):
        find_model(bad)
    with pytest.raises(SpecError, match="is no model folder"):
        all_models([tmp_path])


def test_what_cannot_be_imported_is_tried_again_when_it_has_changed(tmp_path, kept, monkeypatch):
    bad = broken(tmp_path)
    tried = []
    real = importers.import_model
    monkeypatch.setattr(importers, "import_model", lambda *args: tried.append(args) or real(*args))
    for _ in range(3):
        with pytest.raises(SpecError, match="DiNTS"):
            find_model(bad)
    assert len(tried) == 1
    spleen(tmp_path)
    assert find_model(bad).parent == kept
    assert len(tried) == 2


def test_models_of_one_name_are_called_by_their_folders_too(tmp_path, kept):
    one, two = spleen(tmp_path / "one"), spleen(tmp_path / "two")
    (two / "LICENSE").write_text("Another.")
    assert {one.name, f"two/{two.name}"} <= set(all_models([one, two]))
    assert set(all_models([one, one])) == {*bundled_models(), one.name}


def test_a_folder_of_trainings_holds_models(tmp_path):
    """As `medvision train --out runs/x` leaves them; the folds of a cross-validation are not."""
    whole = ("runs/x/model", "runs/y/model", "runs/cv/ensemble", "runs/kept")
    for place in (*whole, "runs/cv/fold_0/model"):
        shutil.copytree(bundled_models()["hippocampus"], tmp_path / place)
    found = all_models([tmp_path / "runs"])
    names = {"x/model", "y/model", "cv/ensemble", "kept"}
    assert set(found) == {*bundled_models(), *names}
    assert found["x/model"] == tmp_path / "runs/x/model"
    assert "model" in all_models([tmp_path / "runs/x"])


def test_a_model_is_read_once_as_long_as_its_files_are_the_same(tmp_path, kept, monkeypatch):
    root = spleen(tmp_path)
    (root / "docs").mkdir(exist_ok=True)
    (root / "docs" / "picture.png").write_bytes(b"of no effect")
    made = find_model(root)
    content_of.cache_clear()
    assert find_model(root) == made
    read = content_of.cache_info().misses
    files = find_importer(root).files(root)
    assert [one.relative_to(root).as_posix() for one in files[:2]] == [
        "configs/metadata.json",
        "configs/inference.json",
    ]
    assert files[-1] == root / "models" / "model.pt"
    assert read == len(files)
    for _ in range(3):
        assert find_model(str(root)) == all_models([root])[root.name] == made
    assert content_of.cache_info().misses == read
    (root / "docs" / "picture.png").write_bytes(b"still of none")
    assert find_model(root) == made
    weights = root / "models" / "model.pt"
    weights.write_bytes(b"nothing" * 99)
    with pytest.raises(SpecError, match="is damaged"):
        find_model(root)
    weights.unlink()
    with pytest.raises(SpecError, match="holds no weights"):
        find_model(root)


def test_of_a_zip_the_zip_itself_is_read(tmp_path, kept):
    path = zipped(spleen(tmp_path))
    assert find_importer(path).files(path) == [path]
    assert find_model(path).parent == kept
