"""Sections of reports in the styles found in the wild; words hidden with their negations."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvision.errors import SpecError
from medvision.report import (
    DEFAULT_SECTIONS,
    SECTIONS,
    clean_report,
    report_for_model,
    split_sections,
)
from medvision.report_masking import MASK, mask_words
from medvision.text_spec import TextSpec

SAME = {"indication": "cough.", "findings": "Clear lungs.", "impression": "Normal."}
STYLES = {
    "one line": "INDICATION: cough. FINDINGS: Clear lungs. IMPRESSION: Normal.",
    "capitals": "INDICATION:\ncough.\n\nFINDINGS:\nClear lungs.\n\nIMPRESSION:\nNormal.",
    "titles": "Indication: cough.\nFindings: Clear lungs.\nImpression: Normal.",
    "alone": "Indication\ncough.\nFindings\nClear lungs.\nImpression\nNormal.",
    "numbered": "1. INDICATION: cough.\n2. FINDINGS: Clear lungs.\n3) IMPRESSION: Normal.",
    "markdown": "## Indication\ncough.\n## Findings\nClear lungs.\n## Impression\nNormal.",
    "bold": "**Indication:** cough. **Findings:** Clear lungs. **Impression:** Normal.",
    "small": "indication: cough. findings: Clear lungs. impression: Normal.",
    "no colons": "INDICATION: cough. FINDINGS Clear lungs. IMPRESSION Normal.",
    "dashes": "Indication - cough.\nFindings – Clear lungs.\nImpression — Normal.",
    "returns": "Indication: cough.\r\nFindings: Clear lungs.\r\nImpression: Normal.",
    "reason": "REASON FOR EXAM: cough. FINDINGS: Clear lungs. OPINION: Normal.",
    "German": "Fragestellung: cough. Befund: Clear lungs. Beurteilung: Normal.",
    "French": "Motif : cough.\nRésultats : Clear lungs.\nConclusion : Normal.",
    "Spanish": "Indicación: cough. Hallazgos: Clear lungs. Impresión: Normal.",
}


@pytest.mark.parametrize("style", STYLES)
def test_a_report_has_the_same_sections_in_every_style(style):
    assert split_sections(STYLES[style]) == SAME


def test_text_without_headings_is_a_note():
    text = "History of smoking and cough. Findings are normal, with a clear impression of health"
    assert split_sections(text) == {"note": text}
    assert split_sections("") == {}
    assert report_for_model(text, DEFAULT_SECTIONS) == ""
    assert report_for_model(text, ("note",)) == text
    assert report_for_model(None, SECTIONS) == ""


def test_history_and_indication_are_two():
    found = split_sections("CLINICAL HISTORY: smoker\nINDICATION: cough\nCOMPARISON: none")
    assert found == {"history": "smoker", "indication": "cough", "comparison": "none"}


@pytest.mark.parametrize("title", ["ADDENDUM", "RECOMMENDATION", "WET READ", "DIAGNOSIS"])
def test_what_comes_after_the_reading_is_impression(title):
    assert split_sections(f"INDICATION: cough. {title}: pneumonia")["impression"] == "pneumonia"


@pytest.mark.parametrize("title", ["RADIATION DOSE:", "Thorax:", "CRITICAL RESULT (PHONED):"])
def test_an_unknown_heading_never_adds_to_what_a_model_sees(title):
    text = f"INDICATION: cough.\n{title} pneumonia.\nCOMPARISON: none."
    assert report_for_model(text, DEFAULT_SECTIONS) == "cough. none."
    assert "pneumonia" in split_sections(text)["note"]


def test_headings_inside_findings_stay_there():
    text = "FINDINGS:\nLUNGS: clear. HEART: normal.\nBones: intact.\nIMPRESSION: normal"
    assert split_sections(text)["findings"].replace("\n", " ") == (
        "LUNGS: clear. HEART: normal. Bones: intact."
    )


@pytest.mark.parametrize(
    "title", ["FINDINGS AND IMPRESSION", "Impression/Findings", "INDICATION AND FINDINGS"]
)
def test_a_heading_for_several_goes_to_what_holds_the_answer(title):
    (found,) = split_sections(f"{title}: x")
    assert found in ("findings", "impression")


WORDS = st.lists(
    st.sampled_from(["cough", "the left lung", "3 mm.", "No", "1.", "\n", "normal;", "é", "肺"]),
    max_size=30,
).map(" ".join)
HEADED = st.lists(
    st.tuples(st.sampled_from(["INDICATION:", "Findings:", "## Impression\n", "DOSE:", ""]), WORDS),
    max_size=6,
).map(lambda parts: "\n".join(f"{a} {b}" for a, b in parts))


@given(HEADED)
def test_nothing_but_headings_is_lost(text):
    plain = re.sub(r"INDICATION:|Findings:|## Impression", " ", text)
    kept = " ".join(split_sections(text).values())
    assert sorted(kept.split()) == sorted(plain.split())


def test_cleaning_takes_out_blanks_and_control_characters():
    odd = (
        "XXXX-year-old [**2019-1-1**]  with\t____ 3mm\x00 nod\u00adule\u202e, Ko\u0308rper\r\n"
    )
    assert clean_report(odd) == "-year-old with 3 mm nodule, Körper"
    assert clean_report(clean_report(odd)) == clean_report(odd)


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("Pneumonia.", "[MASK]."),
        ("pneumonias, heart normal", "[MASK], heart normal"),
        ("No evidence of pneumonia. Heart normal.", "[MASK]. Heart normal."),
        ("negative for acute pneumonia", "[MASK]"),
        ("Pneumonia is ruled out.", "[MASK]."),
        ("Covid-19, covid 19 and COVID19 pneumonia are unlikely.", "[MASK]."),
        ("rule out pneumonia or COVID-19", "[MASK]"),
        ("Kein Hinweis auf COVID-19", "[MASK]"),
        ("a pneumonia-free lung", "a [MASK] lung"),
        ("pneumonic and pneumothorax", "pneumonic and pneumothorax"),
        ("not well. Then pneumonia", "not well. Then [MASK]"),
    ],
)
def test_a_word_goes_with_its_negation(text, hidden):
    assert mask_words(text, ["covid-19", "pneumonia"]) == hidden


def test_a_star_stands_for_any_ending():
    assert mask_words("pneumonic lungs, no pneumothorax", ["pneumo*"]) == "[MASK] lungs, [MASK]"


@given(
    st.lists(
        st.sampled_from(
            [
                "no",
                "not",
                "pneumonia",
                "COVID-19",
                "covid19",
                "seen",
                "and",
                ",",
                ".",
                "heart",
                "is",
                "unlikely",
            ]
        ),
        max_size=25,
    )
)
def test_no_hidden_word_is_left_and_hiding_twice_is_hiding_once(words):
    text = " ".join(words)
    once = mask_words(text, ["pneumonia", "covid-19"])
    assert "pneumonia" not in once
    assert "covid" not in once.lower()
    assert mask_words(once, ["pneumonia", "covid-19"]) == once
    assert once.replace(MASK, "").split() == [w for w in once.split() if w != MASK]


def test_a_long_report_is_read():
    text = "INDICATION: " + "cough and no pneumonia " * 20_000
    found = report_for_model(text, DEFAULT_SECTIONS, ("pneumonia",))
    assert found.startswith("cough and [MASK] cough")
    assert found.count(MASK) == 20_000


def test_unknown_sections_are_told():
    with pytest.raises(SpecError, match="found body"):
        TextSpec(sections=("body",))
