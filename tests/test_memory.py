"""Memory: what a scan needs is told before it begins, and a limit holds."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from medvision.errors import MemoryNeeded
from medvision.intensity_spec import Intensity
from medvision.memory import GB, Load, network_bytes
from medvision.models import build_model
from medvision.predictor import Predictor
from medvision.spec import InputSpec, ModelSpec
from medvision.study import Study
from medvision.volume import Volume

SIDES, CLASSES = (192, 192, 128), 60
MEMORY_GONE = "NO MEMORY"


def stub():
    """A network of many classes that costs next to nothing."""
    network = nn.Conv3d(1, CLASSES, 1)
    middle = torch.linspace(-1, 1, CLASSES)
    network.weight.data = 40 * middle.reshape(-1, 1, 1, 1, 1)
    network.bias.data = -20 * middle**2
    return network


SPEC = ModelSpec(
    "stub",
    "segmentation",
    "stub",
    tuple(f"class{n}" for n in range(1, CLASSES)),
    (1.0, 1.0, 1.0),
    (64, 64, 64),
    inputs=(InputSpec(intensity=Intensity("window", low=-1000, high=1000)),),
)


def scan_of(sides=SIDES):
    ramp = np.linspace(-1000, 1000, sides[2], dtype=np.float32)
    return Volume(np.broadcast_to(ramp, (1, *sides)).astype(np.int16), np.eye(4))


def test_a_scan_that_needs_more_is_refused_with_the_figure(monkeypatch):
    monkeypatch.setattr("medvision.memory.resident", lambda: 0.0)  # else what ran before decides
    predictor = Predictor(stub(), SPEC, "cpu", max_ram=0.2 * GB)
    with pytest.raises(
        MemoryNeeded, match=r"a needs \d\.\d GB .*0\.2 are allowed.*--max-ram"
    ) as said:
        predictor.predict(Study("a", {"image": scan_of()}))
    figure = float(re.search(r"needs (\d+\.\d)", str(said.value))[1])
    enough = Predictor(stub(), SPEC, "cpu", max_ram=(figure + 0.06) * GB)  # a digit is rounded
    ready = enough.prepare(Study("a", {"image": scan_of()}))
    assert ready.keep == "disk"


def test_less_memory_keeps_sums_in_less():
    load = Load(SPEC, [stub()], torch.device("cpu"))
    full, half, disk = (load.need(scan_of(), keep) for keep in ("full", "half", "disk"))
    assert full.sums > 1.7 * half.sums > 1.7 * disk.sums
    assert full.answers > half.answers == disk.answers
    one = replace(SPEC, spacing=(1.0, 1.0, 1.5))
    between = Load(one, [stub()], torch.device("cpu")).need(scan_of())
    assert between.slab > 0 == full.slab


def test_a_networks_maps_are_counted_without_running_it():
    spec = ModelSpec("m", "segmentation", "unet3d", ("a",), (1, 1, 1), (32, 32, 32))
    network = build_model(spec).eval()
    found = network_bytes(network, torch.zeros(1, 1, 32, 32, 32))
    finest = 32 * 32**3 * 4  # bytes of a map of the first stage, of which some are there at a time
    assert 2 * finest < found < 12 * finest
    assert network_bytes(lambda windows: 1 / 0, torch.zeros(1)) == 0


CHILD = """
import resource, sys
sys.path.insert(0, {tests!r})
import numpy as np
import torch
import medvision.predictor
from dataclasses import replace
from medvision.memory import resident
from medvision.predictor import Predictor
from medvision.study import Study
from test_memory import SPEC, scan_of, stub
torch.set_num_threads(1)
scan, way = scan_of(), {way!r}
predictor = Predictor(stub(), SPEC, "cpu")
Predictor(stub(), SPEC, "cpu").predict(Study("warm", {{"image": scan_of((64, 64, 80))}}))
load = predictor.load
room = 1.02 * replace(load.need(scan, "disk"), network=load.network).total
if way == "limited":
    predictor.max_ram = resident() + room
else:
    medvision.predictor.way_to_keep = lambda *args: "full"
held = int([line for line in open("/proc/self/status") if line.startswith("VmData")][0].split()[1])
limit = held * 1024 + int(room)
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
try:
    found = predictor.predict(Study("a", {{"image": scan}}))
except (MemoryError, RuntimeError) as error:
    print({gone!r}, str(error)[:80])
else:
    print(len(np.unique(found.mask.array)))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_a_limit_that_the_system_enforces_is_kept():
    said = {}
    for way in ("limited", "as if there were room"):
        code = CHILD.format(tests=str(Path(__file__).parent), way=way, gone=MEMORY_GONE)
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        said[way] = run.stdout
    assert said["limited"].strip() == str(CLASSES)
    assert MEMORY_GONE in said["as if there were room"]
