"""Small things that every page of the app uses."""

import pytest
from state import plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("brain_T1 (1 mm): fine", r"brain\_T1 \(1 mm\): fine"),
        ("[x](http://evil.example)", r"\[x\]\(http\://evil.example\)"),
        (":red[x] :smile: $a$", r"\:red\[x\] \:smile: \$a\$"),
    ],
)
def test_names_are_shown_as_they_are(text, shown):
    assert plain(text) == shown
