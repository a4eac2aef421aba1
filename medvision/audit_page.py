"""The page of an audit: its verdict, what the sections tell, what was found, and which words."""

from __future__ import annotations

from medvision.audit import STOP_AUC, STOP_WORD_AUC, Audit, Finding, within

SECTIONS_LEGEND = (
    "Cases: that have the section; of a class: the share of its cases that do. AUC: how well the "
    "text alone tells the classes (TF-IDF and a linear model, judged on patients that it did not "
    "learn from, with a 95 % interval over patients): 0.5 is chance, 1 is always, – is too few to "
    f"tell. A training stops where the whole interval lies above {STOP_AUC}."
)
WORDS_LEGEND = (
    "AUC: how well having the word tells the class. In it, in others: the share of the class's "
    f"patients, and of all others, whose reports have it. A training stops from {STOP_WORD_AUC} on."
)


def verdict(found: Audit) -> str:
    """Return in one line whether a training on what a model is to see would stop."""
    seen = ", ".join(found.seen)
    if not found.readable:
        there = ", ".join(f"{one.section} in {one.cases}" for one in found.sections) or "none"
        return (
            f"{found.question}Failed: no report has a section that the model may see ({seen}); "
            f"found: {there}. Choose from these: --sections."
        )
    if stops := len(found.stopping(found.seen)):
        why = "1 finding" if stops == 1 else f"{stops} findings"
        return f"{found.question}Stopped: {why} would stop a training on {seen}."
    return f"{found.question}Passed: nothing would stop a training on {seen}."


def passes(found: Audit) -> bool:
    """Tell whether a training would start."""
    return bool(found.readable) and not found.stopping(found.seen)


def about(found: Audit) -> str:
    """Return in one line what was audited, and which words were hidden."""
    hidden = f" Hidden words: {', '.join(found.masked)}." if found.masked else ""
    return f"{found.cases} cases of {found.groups} patients, {found.reports} with a report.{hidden}"


def hint(found: Audit) -> str:
    """Return that hiding words may not be enough; empty where the rest surely tells nothing."""
    rest = [(one.section, one.auc) for one in found.rows if within(one.section, found.seen)]
    told = [(area.value, section, area) for section, area in rest if area and area.low > 0.5]
    if not found.masked or not told:
        return ""
    _, section, area = max(told, key=lambda one: one[0])
    return (
        f"{found.question}Words were hidden, and the text of {section} still tells the label with "
        f"an AUC of {area}: hiding these words may not be enough, as others may stand for it."
    )


def kind_of(one: Finding, found: Audit) -> str:
    """Return what a finding means for a training on what a model is to see."""
    if one in found.stopping(found.seen):
        return "stops"
    return "would stop, were it shown" if one.stops else "note"


def audit_page(found: Audit) -> str:
    """Return the page in Markdown."""
    title = "Audit of the reports"
    if found.class_names:
        title += f": {' or '.join(found.class_names)}"
    lines = [
        f"# {title}",
        "",
        f"**{verdict(found)}**",
        "",
        about(found),
        "",
        f"| section | cases | {''.join(f'of {c} | ' for c in found.class_names)}AUC |",
        f"|---|---:|{'---:|' * len(found.class_names)}---:|",
    ]
    for one in found.rows:
        shares = "".join(f"{share:.0%} | " for share in one.share)
        lines.append(f"| {one.section} | {one.cases} | {shares}{one.auc or '–'} |")
    lines += ["", SECTIONS_LEGEND, "", "## Findings", ""]
    lines += [f"- **{kind_of(one, found).capitalize()}:** {one.text}" for one in found.findings]
    lines += [f"- **Note:** {hint(found)}"] if hint(found) else []
    lines += [] if found.findings or hint(found) else ["None."]
    if found.words:
        lines += ["", "## Words that tell", ""]
        lines += ["| section | word | class | AUC | in it | in others |"]
        lines += ["|---|---|---|---:|---:|---:|"]
    lines += [
        f"| {section} | {w.word} | {w.class_name} | {w.auc:.2f} | {w.share_in:.0%} | "
        f"{w.share_out:.0%} |"
        for section, w in found.words
    ]
    lines += ["", WORDS_LEGEND] if found.words else []
    return "\n".join(lines) + "\n"
