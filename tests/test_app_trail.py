"""The audit log: what is written, and what is not."""

import json

from trail import Trail


def test_a_line_an_event_with_pseudonyms_alone(tmp_path):
    path = tmp_path / "new" / "trail.jsonl"
    trail = Trail(path)
    trail.write("cookie", "run", "Jane_Doe_1970", model="hippocampus")
    trail.write("cookie", "export", "Jane_Doe_1970", kind="nifti")
    trail.write("other", "view", "someone")
    text = path.read_text(encoding="utf-8")
    assert "Jane" not in text
    assert "cookie" not in text
    run, export, view = map(json.loads, text.splitlines())
    assert (run["event"], run["model"]) == ("run", "hippocampus")
    assert (export["event"], export["kind"]) == ("export", "nifti")
    assert run["study"] == export["study"] == trail.pseudonym("S", "Jane_Doe_1970")
    assert run["visitor"] == export["visitor"] != view["visitor"]
    assert run["time"][:4].isdigit()


def test_the_key_beside_it_tells_and_another_does_not(tmp_path):
    path = tmp_path / "trail.jsonl"
    first = Trail(path).pseudonym("S", "a")
    assert Trail(path).pseudonym("S", "a") == first  # the key is kept
    assert Trail(tmp_path / "other.jsonl").pseudonym("S", "a") != first
    for file in (path, tmp_path / "trail.jsonl.key"):
        assert file.stat().st_mode & 0o077 == 0


def test_no_log_is_kept_where_none_is_wanted(tmp_path):
    Trail(None).write("a", "view", "b")
    assert not list(tmp_path.iterdir())
