"""An archive takes DICOM results, files them with their scan, and gives them back as they were."""

import json
import shutil
import socket
import subprocess
import time
import urllib.request

import pydicom
import pytest
from dicom_results import scanned, segmented

from medvision.outputs import write_outputs

pytest.importorskip("highdicom", reason="needs highdicom (extra seg)")

ORTHANC = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin:/usr/local/sbin")
FORMATS = ("seg", "seg-labelmap", "sr", "sc")
KNOWN = ("seg", "sr", "sc")  # to storescu, which is older than label maps
START = 60  # seconds that it may take to start

pytestmark = pytest.mark.skipif(ORTHANC is None, reason="needs Orthanc (Debian's orthanc)")


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def ask(url, body=None, timeout=30):
    """Return what an address of this machine answers, whatever proxies are set."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(url, data=body), timeout=timeout) as answer:
        return answer.read()


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Addresses of a running Orthanc: of its REST interface, and its DICOM port."""
    folder = tmp_path_factory.mktemp("orthanc")
    http, dicom = free_ports(2)
    settings = {
        "Name": "test",
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "HttpPort": http,
        "DicomPort": dicom,
        "DicomAet": "ORTHANC",
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "Plugins": [],
    }
    config = folder / "orthanc.json"
    config.write_text(json.dumps(settings))
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([ORTHANC, str(config)], stdout=log, stderr=log, cwd=folder)
        try:
            root, end = f"http://127.0.0.1:{http}", time.monotonic() + START
            while True:
                try:
                    ask(f"{root}/system")
                    break
                except OSError:
                    if server.poll() is not None or time.monotonic() > end:
                        pytest.skip(f"Orthanc did not start: {(folder / 'log').read_text()[-300:]}")
                    time.sleep(0.2)
            yield root, dicom
        finally:
            server.terminate()
            server.wait(30)


@pytest.mark.parametrize("kind", ["oblique", "multi-frame axial"])
def test_what_is_sent_by_rest_comes_back_byte_for_byte_with_its_scan(tmp_path, archive, kind):
    root, _ = archive
    scan = scanned(tmp_path / "scan", kind)
    files = write_outputs(*segmented(scan), tmp_path / "out", FORMATS)
    studies = set()
    for path in (*scan.info.sources, *files.values()):
        answer = json.loads(ask(f"{root}/instances", path.read_bytes()))
        assert answer["Status"] == "Success", path
        studies.add(answer["ParentStudy"])
        if path in files.values():
            assert ask(f"{root}/instances/{answer['ID']}/file") == path.read_bytes()
    assert len(studies) == 1
    series = json.loads(ask(f"{root}/studies/{studies.pop()}/series"))
    found = sorted(one["MainDicomTags"]["Modality"] for one in series)
    assert found == sorted([scan.info.modality, "OT", "SEG", "SEG", "SR"])


def test_what_is_sent_by_c_store_comes_back_equal(tmp_path, archive):
    if shutil.which("storescu") is None:
        pytest.skip("needs storescu (Debian's dcmtk)")
    root, port = archive
    scan = scanned(tmp_path / "scan", "sagittal")
    files = write_outputs(*segmented(scan), tmp_path / "out", KNOWN)
    command = ["storescu", "--required", "-aec", "ORTHANC", "127.0.0.1", str(port)]
    subprocess.run([*command, *map(str, files.values())], check=True, capture_output=True)
    for path in files.values():
        sent = pydicom.dcmread(path)
        (one,) = json.loads(ask(f"{root}/tools/lookup", sent.SOPInstanceUID.encode()))
        (tmp_path / "back.dcm").write_bytes(ask(f"{root}{one['Path']}/file"))
        assert pydicom.dcmread(tmp_path / "back.dcm") == sent
