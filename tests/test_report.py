"""Sections of reports in the styles found in the wild; words hidden with their negations."""

import re

import pytest
from hypothesis import example, given
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
    "no stops": "INDICATION: cough.  FINDINGS: Clear lungs.\tIMPRESSION: Normal.",
    "table": "INDICATION: cough. | FINDINGS: Clear lungs. | IMPRESSION: Normal.",
    "ruled": "INDICATION\n---\ncough.\n\nFINDINGS\n===\nClear lungs.\n\nIMPRESSION\n---\nNormal.",
    "qualified": "Exam indication: cough.\nFINDINGS (CT): Clear lungs.\nFinal opinion: Normal.",
    "wide colons": "Indication：cough.\nFindings：Clear lungs.\nImpression：Normal.",
    "decomposed": "Indicacio\u0301n: cough.\nHallazgos: Clear lungs.\nImpresio\u0301n: Normal.",
    "inside": "CHEST TWO VIEWS INDICATION: cough. FINDINGS: Clear lungs. OPINION: Normal.",
    "Spanish": "Indicación: cough. Hallazgos: Clear lungs. Impresión: Normal.",
}


@pytest.mark.parametrize("style", STYLES)
def test_a_report_has_the_same_sections_in_every_style(style):
    found = split_sections(STYLES[style])
    assert found.pop("note", "CHEST TWO VIEWS") == "CHEST TWO VIEWS"
    assert found == SAME


def test_a_report_as_of_MIMIC():  # noqa: N802
    text = (
        "                 FINAL REPORT\n EXAMINATION:  CHEST (PA AND LAT)\n \n INDICATION:  "
        "History: ___F with\n cough  // eval pneumonia\n \n TECHNIQUE:  PA and lateral\n \n "
        "COMPARISON:  None.\n \n FINDINGS: \n \n The lungs are clear.\n\n No effusion.\n \n "
        "IMPRESSION: \n \n Normal."
    )
    found = split_sections(text)
    assert clean_report(found.pop("findings")) == "The lungs are clear. No effusion."
    assert found == {
        "technique": "CHEST (PA AND LAT)\nPA and lateral",
        "history": "___F with\n cough  // eval pneumonia",
        "comparison": "None.",
        "impression": "Normal.",
    }


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


@pytest.mark.parametrize("title", ["RADIATION DOSE", "Thorax", "On physical exam", "PLEURA (LEFT)"])
def test_an_unknown_heading_never_adds_to_what_a_model_sees(title):
    for between in ("\n", " "):
        parts = "INDICATION: cough.", f"{title}: pneumonia.", "COMPARISON: none.", "OPINION: x"
        text = between.join(parts)
        assert report_for_model(text, DEFAULT_SECTIONS) == "cough. none."
        assert split_sections(text)["note"] == f"{title}: pneumonia."


@pytest.mark.parametrize(
    "text",
    [
        # as MIMIC-CXR's without a heading over the findings
        "INDICATION: cough\n \n COMPARISON: None.\n \n Both lungs show pneumonia.",
        "INDICATION: cough\nCOMPARISON: None.\nBoth lungs show pneumonia.",
        "INDICATION: cough\nCOMPARISON: None. Both lungs show pneumonia.",
        "INDICATION: cough\n\nBoth lungs show pneumonia.",
        "INDICATION: cough\nCRITICAL RESULT (PHONED): pneumonia",
        "INDICATION: cough\nFindings on CT: pneumonia",
        "history: cough. chest x-ray: pneumonia",
        "HISTORY: cough, CXR: pneumonia",
        "HISTORY: cough Physical exam: pneumonia",
        # free text: what is called a history goes on with what was seen
        "A man with a cough. PMH: asthma. Both lungs show pneumonia.",
        "A man. Medical history: diabetes Physical examination: good. Pneumonia on both sides.",
        "FINDINGS: opacity. History: see above. This is pneumonia.",
        "Indikation: Husten\nBeurteilung\npneumonia",
        "Klinische Angaben und Fragestellung: Husten\nBefund/Beurteilung: pneumonia",
        "Antécédents : toux\nRésultats / Conclusion : pneumonia",
        "Motivo de consulta: tos. Impresión diagnóstica: pneumonia",
    ],
)
def test_what_was_seen_never_gets_into_the_default_sections(text):
    assert "pneumonia" not in report_for_model(text, DEFAULT_SECTIONS).lower()
    assert "pneumonia" in report_for_model(text, SECTIONS).lower()


def test_repeated_sections_are_joined():
    text = "FINDINGS: a\nIMPRESSION: b\nADDENDUM: c\nFINDINGS: d"
    assert split_sections(text) == {"findings": "a\nd", "impression": "b\nc"}


def test_a_time_is_no_heading():
    assert split_sections("HISTORY: seen Monday at 10:30 with a cough") == {
        "history": "seen Monday at 10:30 with a cough"
    }


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


@given(
    st.text(max_size=80) | st.text(st.sampled_from("AaI:.*#- \n：FINDGSimpreson/()"), max_size=80)
)
def test_any_text_is_read(text):
    found = split_sections(text)
    assert set(found) <= set(SECTIONS)
    assert all(found.values())
    assert isinstance(report_for_model(text, SECTIONS, ["a", "finding*"]), str)


def test_cleaning_takes_out_blanks_and_control_characters():
    odd = "XXXX-year-old [**2019-1-1**]  with\t____ 3mm\x00 nod\u00adule\u202e, Ko\u0308rper\r\n"
    assert clean_report(odd) == "year-old with 3 mm nodule, Körper"
    assert clean_report(clean_report(odd)) == clean_report(odd)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Normal chest x-XXXX.", "Normal chest x."),
        ("seen by [**First Name 3**] on ___ , <unk> (____)", "seen by on,"),
        ("3x4MM, 3 × 4 cm; 2-cm .5 ml", "3 x 4 mm, 3 x 4 cm; 2 cm .5 ml"),
        ("a\nb\n\n\tc\u2028d", "a b c d"),
        ("میخواهم می\u200cخواهم हिन्दी 左肺结节", "میخواهم می\u200cخواهم हिन्दी 左肺结节"),
        ("XXXX ____", ""),
        ("", ""),
    ],
)
def test_cleaning(text, clean):
    assert clean_report(text) == clean


@given(st.text(st.sampled_from("aX_x[]*<>unk ()3m.,;\n-\u0301é"), max_size=40))
def test_cleaning_twice_is_cleaning_once(text):
    once = clean_report(text)
    assert clean_report(once) == once


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("Pneumonia.", "[MASK]."),
        ("no\nevidence of\npneumonia", "[MASK]"),
        ("evidence of pneumonia", "[MASK]"),
        ("No focal opacity, effusion, or pneumonia.", "[MASK]."),
        ("Pneumonia in the right lower lobe is unlikely", "[MASK]"),
        ("Pneumonia cannot be excluded. Heart normal", "[MASK]. Heart normal"),
        ("COVID-19: negative; PCR", "[MASK]; PCR"),
        ("no fever but pneumonia", "no fever but [MASK]"),
        ("no change of the pneumonia", "no change of the [MASK]"),
        ("No fever\n\nPneumonia", "No fever\n\n[MASK]"),
        ("pas d'opacité ni de pneumonia, sans pneumonia", "[MASK], [MASK]"),
        ("keine Pneumonia. Pneumonia ausgeschlossen", "[MASK]. [MASK]"),
        ("the patient's pneumonia’s course", "the patient's [MASK] course"),
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


def test_a_star_stands_for_any_ending_or_beginning():
    assert mask_words("pneumonic lungs, no pneumothorax", ["pneumo*"]) == "[MASK] lungs, [MASK]"
    assert mask_words("Bronchopneumonia, Lungenödem", ["*pneumonia"]) == "[MASK], Lungenödem"


@pytest.mark.parametrize(
    ("word", "plural"),
    [
        ("opacity", "opacities"),
        ("pneumothorax", "Pneumothoraces"),
        ("atelectasis", "atelectases"),
        ("bronchus", "bronchi"),
        ("ground glass", "GROUND\u2011GLASS"),
        ("covid", "COVID-19"),
        ("Crohn's", "crohn’s"),
        ("mask", "mask"),
    ],
)
def test_other_forms_of_a_word_are_hidden(word, plural):
    assert mask_words(f"old {plural} here", [word]) == "old [MASK] here"


def test_words_of_scripts_without_blanks_are_hidden():
    assert mask_words("未见肺炎征象 COVID肺炎pneumonia", ["肺炎", "pneumonia", "covid"]) == (
        "未见[MASK]征象 [MASK][MASK][MASK]"
    )


def test_nothing_is_hidden_by_blank_words_and_signs_alone_are_refused():
    assert mask_words("[MASK] a* b", ["", " "]) == "[MASK] a* b"
    assert mask_words("[MASK]", ["mask"]) == "[MASK]"
    with pytest.raises(SpecError, match="neither letter nor digit"):
        mask_words("text", ["*"])


def test_a_model_sees_nothing_of_a_report_of_hidden_words_alone():
    assert report_for_model("INDICATION: Pneumonia?", DEFAULT_SECTIONS, ["pneumonia"]) == ""


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
@example(["pneumonia", "not", "COVID-19"])
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


@pytest.mark.parametrize(
    "text", ["[** ", "A: ", "ABC-", "1. ", "*", "\n", " \t", "no ", "not a:b ", "X", "- ", "(", "·"]
)
def test_odd_texts_are_read_in_linear_time(text):
    """With time that grows as the square these would take minutes."""
    assert isinstance(report_for_model(text * 40_000, SECTIONS, ("pneumonia", "*itis")), str)


def test_unknown_sections_are_told():
    with pytest.raises(SpecError, match=r"No section body\. Choose from: indication"):
        report_for_model("text", ("body",))
    with pytest.raises(SpecError, match="found body"):
        TextSpec(sections=("body",))
