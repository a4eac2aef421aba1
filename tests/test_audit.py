"""An audit finds the answers that were put into reports, and none where none was put."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import typer
from scipy.stats import fisher_exact
from typer.testing import CliRunner

from medvision.audit import audit, audit_classes
from medvision.audit_page import SECTIONS_LEGEND, WORDS_LEGEND, audit_page, hint
from medvision.cli_audit import add_audit_command
from medvision.dataset import Case
from medvision.errors import CasesError
from medvision.pair_phantom import CLASSES, best_auc, pair_phantoms
from medvision.report import DEFAULT_SECTIONS
from medvision.words import plain, telling, telling_words

NAMES = ("pneumonia", "normal")
WORDS = "cough adult film chest supine male years since days left right old view line".split()  # noqa: SIM905


def cases_with(
    count=120, history="", findings="", told=1.0, other="", names=NAMES, per_patient=2, seed=0
):
    """Cases with reports of random words; those of the first class have more said in a section."""
    rng = np.random.default_rng(seed)
    cases = []
    for n in range(count):
        patient = n // per_patient
        label = names[patient % len(names)]
        leaks = label == names[0] and rng.random() < told
        parts = {
            name: " ".join([*rng.choice(WORDS, 8), said if leaks else other, *rng.choice(WORDS, 3)])
            for name, said in (("HISTORY", history), ("FINDINGS", findings))
        }
        report = "\n".join(f"{name}: {text}." for name, text in parts.items())
        one = Case(f"c{n}", {}, None, f"p{patient}", label=label, line=n + 2, report=report)
        cases.append(one)
    return cases


def codes(found, *sections):
    return [one.code for one in found.findings if one.section in sections]


def test_reports_that_tell_nothing_have_no_findings():
    found = audit(cases_with(), NAMES)
    assert found.findings == ()
    assert found.words == ()
    assert [(s.section, s.cases, s.share) for s in found.sections] == [
        ("history", 120, (1, 1)),
        ("findings", 120, (1, 1)),
    ]
    for section in found.sections:
        assert section.auc.low < 0.5 < section.auc.high
    assert (found.cases, found.groups, found.reports) == (120, 60, 120)
    assert "None." in audit_page(found)


def test_the_section_that_holds_the_answer_stops_and_the_others_do_not():
    found = audit(cases_with(findings="infiltrate"), NAMES)
    stops = found.stopping(["findings", "impression"])
    assert [one.code for one in stops] == ["section", "word"]
    assert found.stopping(["history", "note"]) == []
    section, word = stops
    area = next(one.auc for one in found.sections if one.section == "findings")
    assert area.low > 0.9
    assert str(area) in section.text
    assert "'infiltrate' tells pneumonia" in word.text
    assert "0% of the others" in word.text
    assert found.notes(["findings"])[0].startswith("The text of findings alone (120 of 120 cases)")
    assert found.notes(["findings"])[1:] == [section.text, word.text]
    assert "infiltrate" not in "".join(found.notes(["history"]))


def test_a_word_is_counted_over_patients():
    cases = cases_with(history="opacity", told=0.7, per_patient=1)
    found = audit(cases, NAMES)
    (section, word), *_ = found.words
    share = sum("opacity" in c.report for c in cases) / 60
    assert (section, word.word, word.class_name) == ("history", "opacity", "pneumonia")
    assert (word.share_in, word.share_out) == (pytest.approx(share), 0)
    assert word.auc == pytest.approx(0.5 + share / 2)
    assert word.groups == share * 60


def test_masked_words_are_hidden_from_the_audit():
    leak = cases_with(findings="with infiltrate", other="with effusion", told=0.97)
    open_, hidden = (audit(leak, NAMES, words) for words in ((), ("infiltrate", "effusion")))
    assert open_.stopping(["findings"])
    assert hidden.stopping(["findings"]) == []
    assert "infiltrate" not in audit_page(hidden).split("## Findings")[1]
    assert hidden.sections[1].auc.low < 0.6


def test_a_mask_that_only_one_class_has_is_told():
    found = audit(cases_with(findings="infiltrate", told=0.97), NAMES, ("infiltrate",))
    assert "mask" in codes(found, "findings")
    assert "word" not in codes(found, "findings")
    assert any("not that they were there" in one.text for one in found.stopping(["findings"]))


def test_a_class_that_is_called_by_its_name_stops():
    names = ("COVID-19", "other")
    found = audit(cases_with(200, history="known Covid", told=0.5, names=names), names)
    named = [one for one in found.stopping(["history"]) if one.code == "class_name"]
    assert len(named) == 1
    assert "'covid' tells COVID-19" in named[0].text
    both = cases_with(200, history="covid", other="covid", names=names)  # all are called so
    assert codes(audit(both, names), "history") == []


@pytest.mark.parametrize("names", [("a", "b", "c"), ("a", "b", "c", "d", "e")])
def test_of_many_classes_the_one_that_has_the_word_is_named(names):
    found = audit(cases_with(200, findings="nodule", names=names), names)
    assert {word.class_name for _, word in found.words} == {"a"}
    assert found.words[0][1].word == "nodule"
    assert "word" in codes(found, "findings")


def test_a_section_that_only_one_class_has_is_told():
    cases = [
        replace(c, report=c.report if c.label == "normal" else c.report.split("FINDINGS")[0])
        for c in cases_with()
    ]
    found = audit(cases, NAMES)
    assert found.sections[1].share == (0, 1)
    assert found.sections[1].auc is None  # one class only
    assert codes(found, "findings") == ["presence"]
    assert [one.code for one in found.stopping(["findings"])] == ["presence"]  # as good as a word
    assert found.stopping(["history"]) == []
    half = [
        replace(c, report=c.report if c.label == "normal" or c.line % 4 else None)
        for c in cases_with(per_patient=1)
    ]
    found = audit(half, NAMES)  # 100 % and half of the patients have a report: an AUC of 0.75
    assert codes(found, "findings") == ["presence"]
    assert found.stopping(["findings"]) == []


def test_sections_that_tell_little_each_are_judged_together():
    rng = np.random.default_rng(3)

    def some(label, end):
        """Words that are more frequent in one class: each tells little."""
        often = 0.72 if label == NAMES[0] else 0.32
        return " ".join(f"word{n}{end}" for n in range(5) if rng.random() < often)

    cases = [
        replace(c, report=f"INDICATION: {some(c.label, 'a')}.\nHISTORY: {some(c.label, 'b')}.")
        for c in cases_with(500, per_patient=1)
    ]
    found = audit(cases, NAMES, seen=("indication", "history", "comparison"))
    assert all(0.8 < one.auc.value < 0.9 for one in found.sections)
    assert found.together.section == "indication + history"
    assert found.together.auc.low > 0.9
    both = found.stopping(["indication", "history", "technique"])
    assert [one.code for one in both] == ["together"]
    assert str(found.together.auc) in both[0].text
    assert found.stopping(["indication"]) == found.stopping(["history"]) == []
    assert f"| indication + history | {found.together.cases} |" in audit_page(found)
    assert found.together.cases == sum("word" in c.report for c in cases)
    assert len(found.notes(["history", "indication"])) == 4
    assert len(found.notes(["history"])) == 1
    assert audit(cases, NAMES, seen=("history",)).together is None


@pytest.mark.parametrize(("kind", "leak"), [("additive", True), ("interaction", False)])
def test_of_phantoms_an_audit_finds_what_was_put_in(kind, leak):
    cases = [
        Case(one.case_id, {}, None, one.case_id, label=one.label, report=one.report)
        for one in pair_phantoms(kind, 300, (4, 4, 1), seed=8, leak=leak)
    ]
    found = audit(cases, CLASSES, seen=DEFAULT_SECTIONS)
    assert found.sections[0].section == "indication"
    assert found.together.section == "indication + history + comparison"
    for one in (found.sections[0], found.together):  # no better than can be, nor much worse
        assert abs(one.auc.value - best_auc(kind, "report")) < 4 * 0.03  # standard errors
    assert found.stopping(DEFAULT_SECTIONS) == []
    stops = [one.code for one in found.stopping(["impression"])]
    assert stops == (["section", "word", "word", "class_name", "class_name"] if leak else [])


def test_copies_and_patients_across_splits():
    cases = [
        replace(c, report=f"{c.report} And more." + " It goes on." * 12) for c in cases_with(80)
    ]
    split = [replace(c, split="train" if n < 40 else "test") for n, c in enumerate(cases)]
    assert audit(split, NAMES).findings == ()
    split[40] = replace(split[40], report=split[0].report.upper().replace(".", " !"))
    found = audit(split, NAMES)
    assert codes(found, "") == ["copies_across_splits", "copies"]
    assert [one.code for one in found.stopping(["note"])] == ["copies_across_splits"]
    assert found.findings[0].text.startswith("2 cases")
    short = [replace(c, report="No acute disease.") for c in split]  # a template
    assert codes(audit(short, NAMES), "") == []
    shared = [replace(c, group="Miller") if c.line in (2, 60) else c for c in split]
    found = audit(shared, NAMES)
    assert "patients_across_splits" in [one.code for one in found.stopping([])]
    assert "Miller" not in json.dumps(asdict(found))


def test_a_word_of_few_patients_is_never_shown():
    texts = ["john smith mass"] * 6 + ["mass"] * 6 + ["clear"] * 12
    labels, groups = ["a"] * 12 + ["b"] * 12, [f"p{n}" for n in range(24)]
    groups[:6] = ["p0"] * 3 + ["p1"] * 3
    shown = telling_words(texts, labels, groups, ("a", "b"))
    assert [one.word for one in shown] == ["clear", "mass"]
    assert (shown[1].share_in, shown[1].groups) == (1, 8)


def test_the_p_of_a_word_is_fishers_times_the_number_of_words():
    has = np.zeros((40, 3))
    has[:12, 0] = has[20:22, 0] = 1  # 12 of 20 and 2 of 20
    has[::2, 1] = 1
    has[0, 2] = 1  # of one patient: not tested
    labels, groups = ["a"] * 20 + ["b"] * 20, [f"p{n}" for n in range(40)]
    found = telling(has, ["mass", "the", "smith"], labels, groups, ("a", "b"))
    assert found[1] is found[2] is None
    theirs = fisher_exact([[12, 8], [2, 18]], alternative="greater").pvalue
    assert found[0].p == pytest.approx(2 * theirs * 2)
    assert (found[0].class_name, found[0].share_in, found[0].share_out) == ("a", 0.6, 0.1)
    twice = np.repeat(np.arange(40), 3)  # three texts of each patient are one patient
    again = telling(
        has[twice], ["mass", "the", "smith"], *(np.array(x)[twice] for x in (labels, groups)), "ab"
    )
    assert again[0] == found[0]


@pytest.mark.parametrize("count", [1, 2, 4, 6])
def test_few_cases_are_audited_as_far_as_they_go(count):
    cases = cases_with(count, findings="infiltrate", per_patient=1)
    found = audit(cases, NAMES)
    assert "few" in codes(found, "")
    json.dumps(asdict(found), allow_nan=False)
    assert audit_page(found)


def test_without_labels_the_reports_are_counted_and_compared():
    cases = [replace(c, label="") for c in cases_with()]
    found = audit(cases, ())
    assert [one.auc for one in found.sections] == [None, None]
    assert found.words == found.findings == ()
    assert "| history | 120 | – |" in audit_page(found)


def test_what_cannot_be_audited_is_said():
    with pytest.raises(CasesError, match="No case has a report"):
        audit([replace(c, report=None) for c in cases_with(8)], NAMES)
    with pytest.raises(CasesError, match="none of the classes a, b"):
        audit(cases_with(8), ("a", "b"))


def test_class_names_are_compared_as_words():
    assert plain("Pleural_Effusion, COVID-19!") == "pleural effusion covid 19"


def command(tmp_path: Path, cases, *options):
    """Run the command on a table of these cases."""
    (tmp_path / "x.png").touch()
    rows = ["case_id,image,label,group,report"]
    rows += [f'{c.case_id},x.png,{c.label},{c.group},"{c.report}"' for c in cases]
    table = tmp_path / "cases.csv"
    table.write_text("\n".join(rows))
    app = typer.Typer()
    app.callback()(lambda: None)
    add_audit_command(app)
    return CliRunner().invoke(app, ["audit", str(table), *options])


def test_the_command_exits_by_the_sections_that_are_asked_for(tmp_path):
    leak = cases_with(findings="infiltrate")
    default = command(tmp_path, leak)
    assert default.exit_code == 0
    assert default.output.splitlines()[0] == (
        "Passed: nothing would stop a training on indication, history, comparison."
    )
    word = "In findings one word gives the answer away: 'infiltrate'"
    assert f"would stop, were it shown {word}" in default.output
    out = tmp_path / "audit.json"
    asked = command(tmp_path, leak, "--sections", "history,findings", "--out", str(out))
    assert asked.exit_code == 1
    first = asked.output.splitlines()[0]
    assert first == "Stopped: 2 findings would stop a training on history, findings."
    assert f"stops {word}" in asked.output
    data = json.loads(out.read_text())
    assert data["words"][0][1]["word"] == "infiltrate"
    assert data["verdict"] == first
    quiet = command(tmp_path, leak, "-q", "--out", str(tmp_path / "a.md"))
    assert (quiet.exit_code, quiet.output) == (0, "")
    assert (tmp_path / "a.md").read_text().startswith("# Audit of the reports")
    quiet = command(tmp_path, leak, "-q", "--sections", "findings")
    assert (quiet.exit_code, quiet.stdout) == (1, "")
    assert quiet.stderr == "Stopped: 2 findings would stop a training on findings.\n"
    assert command(tmp_path, leak, "--out", "a.pdf").exit_code == 2


def test_reports_without_the_sections_that_a_model_may_see_fail(tmp_path):
    out = tmp_path / "audit.md"
    absent = command(tmp_path, cases_with(), "--sections", "note,comparison", "--out", str(out))
    assert absent.exit_code == 1
    said = (
        "Failed: no report has a section that the model may see (note, comparison); found: "
        "history in 120, findings in 120. Choose from these: --sections."
    )
    assert absent.output.splitlines()[0] == said
    assert out.read_text().splitlines()[2] == f"**{said}**"
    assert command(tmp_path, cases_with(), "--sections", "note,history").exit_code == 0


def test_the_page_begins_with_the_verdict_and_explains_its_columns(tmp_path):
    leak = cases_with(findings="infiltrate")
    page = audit_page(audit(leak, NAMES, seen=("findings",)))
    assert page.splitlines()[2] == "**Stopped: 2 findings would stop a training on findings.**"
    assert page.count("- **Stops:** ") == 2
    assert "Would stop" not in page
    for text in (page, " ".join(command(tmp_path, leak).output.split())):
        assert SECTIONS_LEGEND in text
        assert WORDS_LEGEND in text
        assert "Hidden words" not in text
    assert WORDS_LEGEND not in audit_page(audit(cases_with(), NAMES))  # has no words


def test_hidden_words_are_listed_and_may_not_be_enough(tmp_path):
    leak = cases_with(findings="infiltrate and opacity")
    masked = ("infiltrate", "pneumon*")
    found = audit(leak, NAMES, masked, seen=("findings",))
    options = ("--mask", masked[0], "--mask", masked[1], "--sections", "findings")
    for text in (audit_page(found), " ".join(command(tmp_path, leak, *options).output.split())):
        assert "Hidden words: infiltrate, pneumon*." in text
        assert hint(found) in text
    assert "the text of findings still tells the label with an AUC of" in hint(found)
    assert hint(replace(found, masked=())) == ""
    assert hint(audit(leak, NAMES, masked, seen=("history",))) == ""  # says nothing of the label
    alike = dict.fromkeys(("history", "findings", "other"), "infiltrate")
    every = audit(cases_with(**alike), NAMES, masked)
    assert hint(every) == ""


def test_of_several_classes_each_line_names_its_class(tmp_path):
    cases = [  # the second class lies across the first
        replace(
            case,
            label="|".join(["gout"] * (n % 4 < 2) + ["cough"] * (n % 8 < 4)) or "none",
            report=f"{case.report} {'effusion' if n % 8 < 4 else ''}",
        )
        for n, case in enumerate(cases_with(findings="infiltrate"))
    ]
    done = command(tmp_path, cases, "--sections", "history,findings")
    assert done.exit_code == 1
    lines = done.output.splitlines()
    assert lines[0].startswith("cough: Stopped: ")
    assert lines[1].startswith("gout: Stopped: ")
    told = [line for line in lines if line.startswith(("stops", "note", "would stop"))]
    assert told
    assert all(line.split(" ", 1)[1].startswith(("cough: ", "gout: ")) for line in told)
    assert done.output.count(SECTIONS_LEGEND[:30]) == 1
    found = audit_classes(cases, ("cough", "gout"), True, seen=("history", "findings"))
    notes = [note for each in found for note in each.notes(("history", "findings"))]
    assert {note.split(":")[0] for note in notes} == {"cough", "gout"}
    pages = [audit_page(each) for each in found]
    assert pages[1].splitlines()[2].startswith("**gout: Stopped: ")
