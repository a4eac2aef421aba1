"""What browsers may fetch: by a token, and by nobody else's."""

import os
import platform
import subprocess
import sys

import pytest
from vault import Vault


@pytest.fixture
def vault(tmp_path):
    return Vault(tmp_path, room=100)


def test_a_token_is_good_for_the_browser_that_got_it(vault):
    token = vault.offer("anna", "scan", lambda: b"voxels")
    assert vault.find("anna", token).read_bytes() == b"voxels"
    assert vault.find("ben", token) is None
    assert vault.find("", token) is None
    assert vault.find("anna", "") is None
    assert vault.find("anna", "../../etc/passwd") is None
    assert len(token) >= 32


def test_what_is_there_is_not_written_again(vault):
    first = vault.offer("anna", "scan", lambda: b"voxels")
    assert vault.offer("anna", "scan", lambda: pytest.fail("written twice")) == first
    other = vault.offer("ben", "scan", lambda: pytest.fail("written twice"))
    assert other != first
    assert vault.find("ben", other) == vault.find("anna", first)
    assert vault.find("anna", other) is None


def test_the_longest_unused_goes_first_and_comes_back_when_asked_for(vault):
    tokens = {name: vault.offer("anna", name, lambda: b"v" * 40) for name in "ab"}
    assert vault.find("anna", tokens["a"])
    tokens["c"] = vault.offer("anna", "c", lambda: b"v" * 40)
    assert vault.find("anna", tokens["b"]) is None
    assert vault.find("anna", tokens["a"])
    assert vault.find("anna", tokens["c"])
    assert vault.offer("anna", "b", lambda: b"again") == tokens["b"]
    assert vault.find("anna", tokens["b"]).read_bytes() == b"again"


def test_a_visitor_who_leaves_takes_the_tokens_along(vault):
    token = vault.offer("anna", "scan", lambda: b"voxels")
    other = vault.offer("ben", "scan", lambda: b"voxels")
    vault.forget("anna")
    assert vault.find("anna", token) is None
    assert vault.find("ben", other)


def test_what_cannot_be_written_leaves_nothing(vault):
    def fail():
        raise OSError("no voxels")

    with pytest.raises(OSError, match="no voxels"):
        vault.offer("anna", "scan", fail)
    assert not list(vault.folder.iterdir())
    assert not vault.tokens


def test_its_own_folder_is_deleted_with_it():
    vault = Vault()
    folder = vault.folder
    vault.offer("anna", "scan", lambda: b"voxels")
    assert len(list(folder.iterdir())) == 1
    del vault
    assert not folder.exists()


def test_what_was_made_of_a_folder_can_be_dropped():
    vault = Vault()
    mine = vault.offer("ann", ("scan", "/tmp/upload-1/a.nii"), lambda: b"a")
    other = vault.offer("ann", ("scan", "/data/a.nii"), lambda: b"b")
    path = vault.find("ann", mine)
    vault.drop("/tmp/upload-1")
    assert not path.exists()
    assert vault.find("ann", mine) is None
    assert vault.find("ann", other).read_bytes() == b"b"


def test_what_a_killed_process_left_is_deleted(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ended = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"],
        capture_output=True,
        text=True,
        check=True,
    )
    start = f"medvision-app-{platform.node()}-"
    left, mine = tmp_path / f"{start}{int(ended.stdout)}-x", tmp_path / f"{start}{os.getpid()}-x"
    for folder in (left, mine):
        folder.mkdir()
        (folder / "scan.nii.gz").write_bytes(b"voxels")
    vault = Vault()
    assert not left.exists()
    assert mine.exists()
    assert vault.folder.parent == tmp_path
