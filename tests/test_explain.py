"""Explanations: the heat lies where the image is bright, and the words' parts sum to the whole."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
import typer
from hypothesis import given
from hypothesis import strategies as st
from models.test_text import minilm
from toy_classifier import Brightness, write_picture
from toy_fusion import BRIGHT, DARK, REPORT, TEXT, build_toy, spec_of, write_toy
from typer.testing import CliRunner

from medvision.attribution import WORD, words_of
from medvision.cli_explain import add_explain_command
from medvision.errors import OutputError, SpecError
from medvision.explain import class_map, explain
from medvision.explanation import GATES
from medvision.geometry import Box, to_world
from medvision.intensity_spec import Intensity
from medvision.models import build_model
from medvision.models.text import SmallTextEncoder
from medvision.outputs.explanation import explanation_html, report_html, save_explanation
from medvision.outputs.nifti import save_nifti
from medvision.phantom import Ellipsoid, ellipsoid_phantom
from medvision.predictor import Predictor
from medvision.render import PLANES, heat_panels, plane_pixels
from medvision.spec import InputSpec
from medvision.study import Study
from medvision.text_spec import METHODS
from medvision.volume import Volume

SPOT = (9.0, -6.0, 5.0)  # RAS mm, from the middle of the scan
CELL = 4.0  # mm, of the toy's map


def affine_of(kind):
    """Grids of other axes, spacing and tilt, all around the middle of the world."""
    columns = {
        "RAS": np.eye(3),
        "LPS": np.diag([-1.0, -1, 1]),
        "PSR": np.array([[0.0, 0, 1], [-1, 0, 0], [0, 1, 0]]),
        "thick": np.diag([0.8, -1.0, 2.5]),
    }
    turn = np.radians(30)
    columns["oblique"] = np.array(
        [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]
    )
    affine = np.eye(4)
    affine[:3, :3] = columns[kind]
    shape = (40, 36, 18) if kind == "thick" else (37, 40, 36)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return shape, affine


def scan_of(kind="RAS", spot=SPOT):
    shape, affine = affine_of(kind)
    return ellipsoid_phantom(shape, affine, [Ellipsoid(spot, (4, 4, 4), value=90)], noise=2)[0]


def toy(dims=3, text=None, seed=0, **settings):
    spec = spec_of(dims, text, **settings)
    return Predictor(build_toy(spec, seed), spec, "cpu")


def warm(dims=3, text=TEXT, **settings):
    """A model with reports of random weights, large enough to have an opinion."""
    predictor = toy(dims, text, **settings)
    for name, weights in predictor.model.named_parameters():
        if "encoder." not in name or "words" in name:
            weights.data *= 2
    return predictor


def hot_at(heat):
    index = np.unravel_index(np.nanargmax(heat.array[0]), heat.shape)
    return to_world(heat.affine, index)


def bright_class(predictor, study):
    """The class that brightness speaks for: with random weights either may be."""
    found = [explain(predictor, study, name) for name in (DARK, BRIGHT)]
    assert sorted(bool(np.nanmax(one.heat.array)) for one in found) == [False, True]
    return max(found, key=lambda one: np.nanmax(one.heat.array))


@pytest.mark.parametrize("kind", ["RAS", "LPS", "PSR", "thick", "oblique"])
def test_the_heat_lies_at_the_spot_whatever_the_orientation(kind):
    scan = scan_of(kind)
    found = explain(toy(), Study("a", {"image": scan}), BRIGHT)
    assert found.heat.shape == scan.shape
    assert found.heat.affine is scan.affine
    assert found.heat.array.dtype == np.float32
    assert found.cells == (8, 8, 8)
    assert np.nanmin(found.heat.array) >= 0
    assert 0.5 < np.nanmax(found.heat.array) <= 1
    np.testing.assert_allclose(hot_at(found.heat), SPOT, atol=CELL)
    assert found.words == ()
    assert found.odds is None


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dims", [2, 3])
def test_the_heat_of_a_model_with_reports_lies_at_the_spot(method, dims):
    predictor = warm(dims, replace(TEXT, fusion=method))
    scan = scan_of("PSR")
    if dims == 2:
        array = np.full((1, 48, 40, 1), 10, np.uint8)
        array[0, 30:36, 8:14] = 95
        scan = Volume(array, np.diag([-1.0, -1, 1, 1]))
    for report in (REPORT, None):
        found = bright_class(predictor, Study("a", {"image": scan}, report))
        if dims == 3:
            np.testing.assert_allclose(hot_at(found.heat), SPOT, atol=CELL)
        else:
            index = np.unravel_index(np.nanargmax(found.heat.array[0]), scan.shape)
            np.testing.assert_allclose(index, (32.5, 10.5, 0), atol=1.5 * CELL)  # 48 / 32 as large


def test_a_spot_nowhere_is_told():
    found = explain(toy(), Study("a", {"image": scan_of("LPS")}), DARK)
    assert found.prediction.predicted == BRIGHT
    assert np.nanmax(found.heat.array) == 0
    assert found.warnings[-1].startswith("nothing in the image speaks for dark")


def test_a_peak_in_the_margin_around_a_narrow_film_is_told():
    """The film's upper border is bright, and repeated above it up to the window's edge."""
    array = np.full((1, 64, 16, 1), 10, np.uint8)
    array[0, :, :3] = 60  # columns, rows
    array[0, 40:48, 8:] = 90
    film = Volume(array, np.diag([-1.0, -1, 1, 1]))
    found = explain(toy(2), Study("a", {"image": film}), BRIGHT)
    assert not any("beyond the scan" in one for one in found.warnings)
    array[0, :, :3] = 100
    found = explain(toy(2), Study("a", {"image": film}), BRIGHT)
    assert found.warnings[-1].startswith("what speaks most for bright lies beyond the scan")
    assert found.heat.shape == film.shape


def test_only_what_the_model_looked_at_has_heat():
    """A window of 32 of 37 voxels starts at the second of them, counted as the model counts."""
    for kind, first in (("RAS", 2), ("LPS", 3)):
        found = explain(toy(), Study("a", {"image": scan_of(kind)}), BRIGHT)
        seen = np.argwhere(np.isfinite(found.heat.array[0]))
        assert seen.min(axis=0).tolist() == [first, 4, 2]
        assert np.isfinite(found.heat.array).sum() == 32**3
        assert seen.max(axis=0).tolist() == [first + 31, 35, 33]
    assert np.isfinite(explain(toy(), Study("a", {"image": scan_of("thick")})).heat.array).sum() < (
        40 * 36 * 18
    )


def test_a_box_is_explained_as_a_scan_of_its_own():
    scan, box = scan_of("LPS"), Box((-5, -18, -12), (16, 10, 14))
    found = explain(toy(), Study("a", {"image": scan}), BRIGHT, box=box)
    alone = explain(toy(), Study("a", {"image": scan.cropped_to(box)}), BRIGHT)
    region = found.prediction.region
    np.testing.assert_array_equal(found.heat.array[0][region], alone.heat.array[0])
    assert np.isfinite(found.heat.array).sum() == alone.heat.array.size
    np.testing.assert_allclose(hot_at(found.heat), SPOT, atol=CELL)


def test_of_two_inputs_the_heat_lies_on_the_first():
    window = Intensity("window", low=0, high=100)
    inputs = (InputSpec("a", intensity=window), InputSpec("b", intensity=window))
    study = Study("x", {"b": scan_of("RAS", (-9, 0, 0)), "a": scan_of("PSR")})
    found = explain(toy(inputs=inputs), study, BRIGHT)
    assert found.scan is study.volumes["a"]
    assert found.heat.affine is found.scan.affine
    np.testing.assert_allclose(hot_at(found.heat), SPOT, atol=CELL)


def test_of_a_mean_of_the_map_it_is_class_activation_mapping():
    """Zhou et al., CVPR 2016: the map, weighted by what the head gives each channel."""
    spec = spec_of(2, network={"features": (4, 8)}, class_names=("a", "b"))
    torch.manual_seed(3)
    model = build_model(spec).eval()
    image = torch.randn(1, 1, 32, 32, 1)
    cam, _ = class_map([model], image, "", spec, 1, -1)
    with torch.no_grad():
        deepest = model.encoder(image[..., 0])[-1][0]  # (C, I, J)
        weights = model.head.weight[1] - model.head.weight[0]
        wanted = torch.einsum("c,cij->ij", weights, deepest).relu()
    torch.testing.assert_close(cam, wanted / wanted.max())


def test_finer_maps_can_be_looked_at():
    study = Study("a", {"image": scan_of()})
    found = explain(toy(), study, BRIGHT, stage=0)
    assert found.cells == (32, 32, 32)
    np.testing.assert_allclose(hot_at(found.heat), SPOT, atol=4.5)  # anywhere in the spot
    with pytest.raises(SpecError, match="has 3 maps, from 0 on; found stage 3"):
        explain(toy(), study, stage=3)


def traces(model):
    hooks = sum(len(m._forward_hooks) + len(m._backward_hooks) for m in model.modules())
    modes = [module.training for module in model.modules()]
    learns = [weights.requires_grad for weights in model.parameters()]
    return hooks, modes, learns, [weights.grad for weights in model.parameters()]


def test_nothing_is_left_behind_and_any_mode_will_do():
    predictor, study = warm(2), Study("a", {"image": picture()}, REPORT)
    predictor.model.text_encoder.requires_grad_(False)
    first, before = explain(predictor, study), traces(predictor.model)
    for mode in (torch.no_grad, torch.inference_mode, torch.enable_grad):
        with mode():
            again = explain(predictor, study)
            assert torch.is_inference_mode_enabled() == (mode is torch.inference_mode)
        np.testing.assert_array_equal(again.heat.array, first.heat.array)
        assert again.words == first.words
    assert traces(predictor.model) == before
    predictor.model.train()
    assert explain(predictor, study).words == first.words
    assert predictor.model.training
    assert predictor.model.text_encoder.training
    with torch.inference_mode():
        assert explain(warm(2), study).words == first.words


def picture(value=90):
    array = np.full((1, 40, 40, 1), 10, np.uint8)
    array[0, 10:16, 20:26] = value
    return Volume(array, np.diag([-1.0, -1, 1, 1]))


def check_sum(found):
    """Words' parts sum to the difference of the log odds, as the docstring promises."""
    parts = [word.attribution or 0.0 for word in found.words]
    change = found.odds[0] - found.odds[1]
    assert abs(change) > 0.01
    assert sum(parts) == pytest.approx(change, abs=max(0.005, 0.01 * sum(map(abs, parts))))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("members", [1, 2])
def test_words_sum_to_what_the_report_changes(method, members):
    predictor = warm(2, replace(TEXT, fusion=method), members=members)
    found = explain(predictor, Study("a", {"image": picture()}, REPORT), BRIGHT)
    p = found.prediction.scores[BRIGHT]
    assert found.odds[0] == pytest.approx(np.log(p / (1 - p)), abs=1e-4)
    check_sum(found)
    other = explain(predictor, Study("a", {"image": picture()}, REPORT), DARK)
    for one, two in zip(found.words, other.words, strict=True):  # of two classes
        assert one.attribution == pytest.approx(-two.attribution, abs=1e-4)
    assert (found.gates is not None) == (method == "gated")
    if found.gates:
        assert sum(found.gates.values()) == pytest.approx(1, abs=1e-6)
    looks = [word.attention for word in found.words]
    if method == "cross_attention":
        assert 0 < sum(looks) < 1  # the rest lies on what starts the text
    else:
        assert looks == [None] * len(looks)


@pytest.mark.parametrize("members", [1, 2])
def test_of_several_classes_each_has_odds_of_its_own(members):
    predictor = warm(2, members=members, multilabel=True)
    study = Study("a", {"image": picture()}, REPORT)
    for name in (DARK, BRIGHT):
        found = explain(predictor, study, name)
        p = found.prediction.scores[name]
        assert found.odds[0] == pytest.approx(np.log(p / (1 - p)), abs=1e-4)
        check_sum(found)
    assert sum(found.prediction.scores.values()) != pytest.approx(1, abs=0.01)
    assert explain(predictor, study).class_name == found.prediction.likeliest


def test_words_of_a_hugging_face_encoder_sum_to_what_the_report_changes():
    text = replace(TEXT, encoder=str(minilm()), fusion="cross_attention", max_tokens=12)
    predictor = warm(2, text)
    text = "INDICATION: Cough, dyspnoea and pneumonia on the left (old) side since yesterday."
    study = Study("a", {"image": picture()}, text)
    found = explain(predictor, study, BRIGHT)
    check_sum(found)
    told = {word.text: word.attribution is not None for word in found.words}
    assert told["dyspnoea"]
    assert told["[MASK]"]
    assert not told["yesterday"]
    assert traces(predictor.model)[0] == 0
    alone = explain(predictor, Study("a", {"image": picture()}))
    assert alone.words == ()


def test_equal_members_explain_as_one_of_them():
    one, two = (warm(2, members=members) for members in (1, 2))
    for member in two.model.members:
        member.load_state_dict(one.model.state_dict())
    study = Study("a", {"image": picture()}, REPORT)
    first, second = explain(one, study), explain(two, study)
    np.testing.assert_allclose(second.heat.array, first.heat.array, atol=1e-5)
    for word, same in zip(first.words, second.words, strict=True):
        assert word.attribution == pytest.approx(same.attribution, abs=1e-4)
    assert second.gates == pytest.approx(first.gates, abs=1e-5)


def test_a_word_that_says_nothing_adds_nothing():
    predictor = warm(2)
    encoder = predictor.model.text_encoder
    encoder.words.weight.data[encoder.tokenizer.token_to_id("fever")] = 0
    found = explain(predictor, Study("a", {"image": picture()}, REPORT))
    parts = {word.text.lower(): word.attribution for word in found.words}
    assert parts["fever"] == 0
    assert parts["cough"] != 0


def test_pieces_become_words_and_what_was_not_read_has_no_part():
    report = "INDICATION: pneumonia? Xanthoma, cough. " + "fever " * 30
    found = explain(warm(2), Study("a", {"image": picture()}, report))
    assert all(found.text[one.start : one.end] == one.text for one in found.words)
    kinds = [(one.text, one.masked) for one in found.words[:4]]
    assert ("[MASK]", True) in kinds
    last = [one.attribution for one in found.words][-5:]
    assert last == [None] * 5
    assert any("24 of its" in one for one in found.warnings)
    pieces = SmallTextEncoder(TEXT.vocabulary, 8, 1, 24).pieces("cough and fever")
    assert len(pieces) == 3  # known whole
    [left, right] = words_of("ab c-d", [(0, 1), (1, 2), (2, 4), (5, 6)], [1, 2, 4, 8], None)
    assert (left.text, left.attribution) == ("ab", 3)
    assert (right.text, right.attribution) == ("c-d", 12)


@given(st.text())
def test_words_are_all_that_is_not_blank(text):
    assert "".join(WORD.findall(text)) == "".join(re.findall(r"\S", text))


def test_sections_that_the_model_may_not_see_are_kept_apart():
    found = explain(warm(2), Study("a", {"image": picture()}, REPORT))
    assert "fever" in found.text
    assert "spot" not in found.text
    assert list(found.hidden) == ["findings"]
    page = report_html(found)
    assert "Not shown to the model: findings" in page
    assert "A bright spot." in page
    without = explain(toy(2), Study("a", {"image": picture()}, REPORT))
    assert (without.text, without.words, without.hidden) == ("", (), {})


def test_what_cannot_be_explained_is_told():
    study = Study("a", {"image": scan_of()})
    with pytest.raises(SpecError, match=r"has no class 'grey'\. Choose from: dark, bright"):
        explain(toy(), study, "grey")
    with pytest.raises(SpecError, match="Brightness has none"):
        explain(Predictor(Brightness(), spec_of(), "cpu"), study)
    spec = spec_of(task="segmentation", architecture="unet3d", network={"features": (2, 4)})
    with pytest.raises(SpecError, match="segments"):
        explain(Predictor(build_model(spec), spec, "cpu"), study)


def test_pictures_show_the_heat_where_it_is():
    found = explain(toy(), Study("a", {"image": scan_of("LPS")}), BRIGHT)
    panels = heat_panels(found.scan, found.heat)
    assert len(panels) == 3
    for plane, (plain, heated) in zip(PLANES, panels, strict=True):
        before, after = (np.asarray(one).astype(int) for one in (plain, heated))
        colored = np.ptp(after, axis=-1) > 60
        assert not (np.ptp(before, axis=-1) > 60).any()
        upright = found.heat.reoriented("RAS")
        at = np.unravel_index(np.nanargmax(upright.array[0]), upright.shape)[plane.axis]
        level = np.nan_to_num(plane_pixels(upright, plane, at))
        down, across = (level.sum(axis=1 - a) @ np.arange(level.shape[a]) for a in (0, 1))
        size = np.array([level.shape[1], level.shape[0]])
        wanted = (np.array([across, down]) / level.sum() + 0.5 - size / 2) / size.max()
        middle = np.argwhere(colored).mean(axis=0)[::-1] / plain.width - 0.5
        np.testing.assert_allclose(middle, wanted, atol=0.03)


class Tags(HTMLParser):
    """What a page holds."""

    def __init__(self):
        super().__init__()
        self.tags, self.words, self.sources = [], "", []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data):
        self.words += data


def read_page(page):
    tags = Tags()
    tags.feed(page)
    return tags


def test_a_page_holds_all_it_shows_and_runs_nothing(tmp_path):
    report = (
        'INDICATION: <script>alert("x")</script> & cough\x07 \u202e pneumonia\n\nFINDINGS: <b>no'
    )
    study = Study("case <i>", {"image": scan_of()}, report)
    found = explain(warm(), study, BRIGHT)
    path = save_explanation(found, tmp_path / "page.html")
    page = read_page(path.read_text(encoding="utf-8"))
    assert not {"script", "i\x3e", "b\x3eno", "link", "iframe"} & set(page.tags)
    assert page.tags.count("img") == len(page.sources) == 6
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    for words in ("case <i>", "alert", "hidden", "<b>no", "image alone", "report alone",
                  "Research use only, not a medical device."):  # fmt: skip
        assert words in page.words
    assert "\x07" not in page.words
    assert "default-src 'none'" in path.read_text(encoding="utf-8")
    with pytest.raises(OutputError, match=r"call it \.html, not 'page\.png'"):
        save_explanation(found, tmp_path / "page.png")
    without = read_page(explanation_html(explain(toy(2), Study("a", {"image": picture()}))))
    assert without.tags.count("img") == 2
    assert "Report" not in without.words


def run(*arguments):
    app = typer.Typer()
    add_explain_command(app)
    return CliRunner().invoke(app, [str(one) for one in arguments])


def test_the_command_explains_a_scan_with_its_report_or_another(tmp_path):
    model = write_toy(tmp_path / "toy", spec_of(2, TEXT))
    scan = write_picture(tmp_path / "scans" / "film.png", 80, (40, 40))
    (tmp_path / "scans" / "film.txt").write_text(REPORT)
    out = tmp_path / "page.html"
    said = run(scan.parent, "--model", model, "--out", out)
    assert said.exit_code == 0, said.output
    assert str(out) in said.output.replace("\n", "")
    assert "fever" not in said.output
    assert "fever" in read_page(out.read_text()).words
    (tmp_path / "other.txt").write_text("HISTORY: pain")
    for given_, shows in (("HISTORY: no cough", "no cough"), (tmp_path / "other.txt", "pain")):
        run(scan, "--model", model, "--out", out, "--report", given_, "--class", DARK)
        words = read_page(out.read_text()).words
        assert shows in words
        assert "fever" not in words
        assert "What speaks for dark" in words
    said = run(scan, "--model", model, "--out", out, "--report", "")
    assert "no report: the answer is from the image alone" in said.output
    assert "Report" not in read_page(out.read_text()).words
    missing = run(scan, "--model", model, "--out", out, "--report", "missing.txt")
    assert "missing.txt cannot be read" in str(missing.exception)


def test_a_report_for_a_model_that_reads_none_is_refused(tmp_path):
    model = write_toy(tmp_path / "toy", spec_of(2))
    scan = write_picture(tmp_path / "film.png", 80, (40, 40))
    out = tmp_path / "page.html"
    said = run(scan, "--model", model, "--out", out, "--report", "HISTORY: cough")
    assert isinstance(said.exception, SpecError)
    assert "toy reads no reports: leave out --report" in str(said.exception)
    assert not out.exists()
    assert run(scan, "--model", model, "--out", out, "--report", "").exit_code == 0


def test_gates_are_not_called_evidence():
    found = explain(warm(2), Study("a", {"image": picture()}, REPORT))
    page = read_page(explanation_html(found)).words
    assert GATES in page
    assert "Weight in the joint answer" not in page
    late = warm(2, replace(TEXT, fusion="late"))
    found = explain(late, Study("a", {"image": picture()}, REPORT))
    assert GATES not in read_page(explanation_html(found)).words


def test_a_model_on_disk_explains_a_nifti_scan(tmp_path):
    model = write_toy(tmp_path / "toy", spec_of())
    save_nifti(scan_of("PSR"), tmp_path / "scan.nii.gz")
    out = tmp_path / "page.html"
    assert run(tmp_path / "scan.nii.gz", "--model", model, "--out", out).exit_code == 0
    assert read_page(out.read_text()).tags.count("img") == 6
