"""The page of an audit: what the sections tell, what was found, and the words that tell."""

from __future__ import annotations

from medvision.audit import Audit


def audit_page(found: Audit) -> str:
    """Return the page in Markdown."""
    title = "Audit of the reports"
    if found.class_names:
        title += f": {' or '.join(found.class_names)}"
    hidden = f" Hidden: {', '.join(found.masked)}." if found.masked else ""
    lines = [
        f"# {title}",
        "",
        f"{found.cases} cases of {found.groups} patients, {found.reports} with a report.{hidden} "
        "AUC of the text alone: TF-IDF and a linear model, out of fold, with a 95 % interval "
        "over patients.",
        "",
        f"| section | cases | {''.join(f'of {c} | ' for c in found.class_names)}AUC |",
        f"|---|---:|{'---:|' * len(found.class_names)}---:|",
    ]
    for one in found.rows:
        shares = "".join(f"{share:.0%} | " for share in one.share)
        lines.append(f"| {one.section} | {one.cases} | {shares}{one.auc or '–'} |")
    lines += ["", "## Findings", ""]
    lines += [f"- {'**Stops:** ' if one.stops else ''}{one.text}" for one in found.findings]
    lines += [] if found.findings else ["None."]
    if found.words:
        lines += ["", "## Words that tell", "", "Shares and AUC are over patients.", ""]
        lines += ["| section | word | class | AUC | in it | in others |"]
        lines += ["|---|---|---|---:|---:|---:|"]
    lines += [
        f"| {section} | {w.word} | {w.class_name} | {w.auc:.2f} | {w.share_in:.0%} | "
        f"{w.share_out:.0%} |"
        for section, w in found.words
    ]
    return "\n".join(lines) + "\n"
