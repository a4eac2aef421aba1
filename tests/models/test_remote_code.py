"""A text encoder is data: code beside it is neither run nor asked for."""

import json

import pytest

from medvision.errors import SpecError
from medvision.models.huggingface import load

pytest.importorskip("transformers", reason="needs transformers (extra text)")


def test_code_in_a_text_encoders_folder_is_refused_unasked(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("builtins.input", lambda *words: asked.append(words) or "n")
    ran = tmp_path / "ran"
    (tmp_path / "evil.py").write_text(f"open({str(ran)!r}, 'w')\nclass Config: ...\n")
    names = {
        "AutoConfig": "evil.Config",
        "AutoModel": "evil.Model",
        "AutoTokenizer": ["evil.T", None],
    }
    config = {"model_type": "evil", "auto_map": names}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"auto_map": names}))
    with pytest.raises(SpecError, match="no text encoder that can be read"):
        load(str(tmp_path))
    assert not ran.exists()
    assert asked == []
