"""Configs of MONAI bundles are data: references are followed, and no code is run."""

import json

import pytest

from medvision.errors import SpecError
from medvision.importers.monai_config import Config, Opaque, Part, absolute, read_data
from medvision.importers.monai_expression import UnknownError, evaluate

DATA = {
    "big": True,
    "n": 3,
    "sizes": [1.5, 1.5, 2.0],
    "pick": "$@sizes if @big else [3.0] * 3",
    "table": {"roi": "$[@n * 32] * @n", "first": "@sizes#0", "same": "%sizes", "up": "@##n"},
    "far": "@table::first",
    "path": "$@bundle_root + '/models/' + @name",
    "name": "$'a.pt' if not @big else 'b.pt'",
    "joined": "$os.path.join(@bundle_root, 'models', @name)",
    "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
    "list": ["$@device", 1],
    "macro": "%other.json#key",
}


def test_references_and_expressions_are_worked_out(tmp_path):
    config = Config(tmp_path / "inference.json", DATA)
    assert config.get("pick") == [1.5, 1.5, 2.0]
    assert config.get("table") == {
        "roi": [96, 96, 96],
        "first": 1.5,
        "same": [1.5, 1.5, 2.0],
        "up": 3,
    }
    assert (config.get("far"), config.get("table#roi#1")) == (1.5, 96)
    assert config.get("path") == "./models/b.pt"
    assert config.get("joined") == "./models/b.pt"
    assert config.get("device") == Opaque(DATA["device"], "device")
    assert isinstance(config.get("list")[0], Opaque)
    assert isinstance(config.get("macro"), Opaque)
    assert absolute("@#b", "a::c") == "a::b"
    with pytest.raises(SpecError, match=r"inference\.json has no 'nowhere'"):
        config.get("nowhere")


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('touch /tmp/owned')",
        "open('/etc/passwd').read()",
        "[].__class__.__base__.__subclasses__()",
        "(lambda: 1)()",
        "[x for x in [1]]",
        "9 ** 9 ** 9",
        "'a' * 1000000000",
        "[0] * 1000000000",
        "1 / 0",
        "1 +",
        "print(1)",
        "getattr(1, 'real')",
        "f'{1}'",
        "int('9' * 9)",
        "list(key=1)",
        "(" * 3000,
        "-" * 4000 + "1",
        "1e300 * 1e300",
        "max(*[1])",
        "{**{}}",
    ],
)
def test_code_is_not_run(text):
    with pytest.raises(UnknownError):
        evaluate(text, {}.__getitem__)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1 + 2 * 3 - 4 / 2 // 1 % 5", 1 + 2 * 3 - 4 / 2 // 1 % 5),
        ("[1, 2] + [3]", [1, 2, 3]),
        ("{'a': (1, -2)}['a'][-1]", -2),
        ("1 if 2 > 1 and not False else 0", 1),
        ("None is None or 1 / 0", True),
        ("len('abc') + int(2.5) + max(1, 2)", 7),
        ("'b' in 'abc' and 1 not in [2]", True),
    ],
)
def test_arithmetic_is_worked_out(text, found):
    assert evaluate(text, {}.__getitem__) == found


@pytest.mark.parametrize(
    "text",
    [
        "[[[0]*5000]*5000]*5000",
        "str([[0]*5000]*2000)",
        "str([[0]*5000])",
        "[[0]*3000, [0]*3000]",
        "[[]]*5 * 5",
        "['@long', '@long'] * 1000",
        "{'a': [0]*5000, 'b': [0]*5000}",
        "os.path.join(@long, @long)",
        "list(@long + @long)",
        "[@long, @long]",
        "sum([[0]*4000, [0]*4000], [])",
        "[0] * 5000 + [[0] * 4000]",
        "round(1, -1000000000)",
    ],
)
def test_what_would_be_large_is_not_made(text):
    with pytest.raises(UnknownError):  # before any of it is there: a machine has no memory for it
        evaluate(text, {"@long": "a" * 4000}.__getitem__)


def test_many_values_of_some_size_are_too_many_together(tmp_path):
    said = {"a": "$[0] * 5000", "b": ["@a"] * 60_000, "c": ["@a"] * 20}
    assert Config(tmp_path / "inference.json", said).get("c") == [[0] * 5000] * 20
    with pytest.raises(SpecError, match="nested too deep"):
        Config(tmp_path / "inference.json", said).get("b")


def test_circles_and_depth_are_refused(tmp_path):
    path = tmp_path / "inference.json"
    with pytest.raises(SpecError, match="refers to itself"):
        Config(path, {"a": "@b", "b": "$@a + 1"}).get("a")
    layers = {"a0": [0] * 9} | {f"a{n + 1}": [f"@a{n}"] * 9 for n in range(9)}
    with pytest.raises(SpecError, match="refers to itself, or is nested too deep"):
        Config(path, layers).get("a9")
    path.write_text("[" * 100_000)
    with pytest.raises(SpecError, match="nested too deep"):
        read_data(path)
    path.write_text("[1]")
    with pytest.raises(SpecError, match="no table"):
        read_data(path)
    path.write_text("{")
    with pytest.raises(SpecError, match="damaged"):
        read_data(path)


def test_yaml_is_data_too(tmp_path):
    path = tmp_path / "inference.yaml"
    path.write_text("---\nroi:\n- 96\n- 32\ntransforms: {_target_: Compose}\n")
    assert read_data(path) == {"roi": [96, 32], "transforms": {"_target_": "Compose"}}
    path.write_text("a: !!python/object/apply:os.system ['touch /tmp/owned']\n")
    with pytest.raises(SpecError, match="could not determine a constructor"):
        read_data(path)
    path.write_text("a: &a [1]\nb: &b [*a, *a]\nc: [*b, *b]\n")
    assert read_data(path)["c"] == [[[1], [1]], [[1], [1]]]
    lines = ["a0: &a0 {_target_: X}"]
    lines += [f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]" for n in range(40)]
    path.write_text("\n".join(lines))
    assert list(Config(path, read_data(path)).parts()) == [{"_target_": "X"}]
    path.write_text("a: &a\n  b: *a\n")
    with pytest.raises(SpecError, match="nested too deep"):
        Config(path, read_data(path)).get("a")


def test_every_argument_is_accounted_for(tmp_path):
    path = tmp_path / "inference.json"
    part = Part(path, {"_target_": "monai.transforms.Thingd", "keys": "a", "how": [1, 2]}, "pre::0")
    assert part.name == "Thingd"
    assert part.take("keys") == "a"
    with pytest.raises(SpecError, match=r"inference\.json: Thingd \(pre::0\) has how, which"):
        part.finish()
    assert part.number("how") == 1
    part.finish()
    part = Part(path, {"_target_": "X", "a": Opaque("$f()", "pre::0::a")}, "pre::0")
    with pytest.raises(SpecError, match=r"X \(pre::0\) has a = '\$f\(\)', which only code"):
        part.take("a")
    with pytest.raises(SpecError, match="only code could tell"):
        Part(path, Opaque("$f()", "pre"), "pre")
    with pytest.raises(SpecError, match="has a _mode_"):
        Part(path, {"_target_": "X", "_mode_": "debug"}, "pre")
    assert json.loads(json.dumps(DATA)) == DATA
