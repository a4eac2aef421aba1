"""The app's server: what it sends to whom, and what it refuses."""

import http.client
import json
import signal
import socket
import subprocess
import time
from contextlib import closing
from urllib.parse import urlsplit

import pytest
from app_server import running, serving
from toy_classifier import write_picture


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    write_picture(folder / "gray.png", 140)
    with serving(["medvision", "app", str(folder)]) as address:
        yield address.removeprefix("http://")


def ask(address, path, **headers):
    """Return status, headers and body of a GET, its path sent as it is."""
    with closing(http.client.HTTPConnection(address, timeout=30)) as connection:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()


def test_the_page_has_safe_headers_and_gives_each_browser_a_name(address):
    status, headers, body = ask(address, "/")
    assert status == 200
    assert b"<html" in body.lower()
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    cookie = headers["set-cookie"]
    assert cookie.startswith("medvision_visitor=")
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    name = cookie.split(";")[0]
    assert "set-cookie" not in ask(address, "/", Cookie=name)[1]
    assert ask(address, "/")[1]["set-cookie"].split(";")[0] != name


def test_the_viewer_is_sent(address):
    status, headers, body = ask(address, "/medvision/viewer.js")
    assert status == 200
    assert headers["content-type"].startswith("text/javascript")
    assert len(body) > 1e6


@pytest.mark.parametrize(
    "path",
    [
        "/medvision/voxels/unknown",
        "/medvision/voxels/../../../../etc/passwd",
        "/medvision/voxels/..%2f..%2f..%2fetc%2fpasswd",
        "/medvision/voxels//etc/passwd",
        "/medvision/voxels/%00",
    ],
)
def test_what_nobody_was_given_nobody_gets(address, path):
    status, headers, body = ask(address, path, Cookie="medvision_visitor=somebody")
    # an address that is no route is answered with the page
    assert status in (400, 404) or headers["content-type"].startswith("text/html")
    assert b"root:" not in body


def test_another_host_name_is_refused(address):
    """What a page of another site, whose name was pointed at this machine, would send."""
    assert ask(address, "/", Host="evil.example")[0] == 400
    assert ask(address, "/medvision/viewer.js", Host="evil.example")[0] == 400


@pytest.mark.parametrize(
    ("host", "origin"),
    [("evil.example", "http://evil.example"), ("127.0.0.1", "http://evil.example")],
)
def test_another_site_opens_no_stream(address, host, origin):
    name, port = address.split(":")
    with socket.create_connection((name, int(port)), timeout=30) as line:
        line.sendall(
            f"GET /_stcore/stream HTTP/1.1\r\nHost: {host}:{port}\r\nOrigin: {origin}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        assert b" 40" in line.recv(200).splitlines()[0]


def test_static_files_are_off_and_the_server_tells_nothing_of_itself(address):
    assert b"medvision" not in ask(address, "/app/static/server.py")[2]  # the page, at most
    status, _, body = ask(address, "/_stcore/host-config")
    assert status == 200
    assert json.loads(body).get("useExternalAuthToken") is False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_command_alone_ends_the_server(tmp_path, number):
    """As `kill PID` and service managers do it: to one process, not to its group."""
    write_picture(tmp_path / "gray.png", 140)
    with running(["medvision", "app", str(tmp_path)]) as (address, process):
        place = urlsplit(address)
        assert ask(place.netloc, "/")[0] == 200
        process.send_signal(number)
        process.wait(timeout=60)
        assert not living_in_session(process.pid)
        with pytest.raises(OSError, match="refused"):
            ask(place.netloc, "/")


def living_in_session(leader):
    """Return the processes that a leader of a session has left behind."""
    command = ["ps", "-o", "pid=", "-s", str(leader)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_was_kept_for_browsers_is_deleted_when_the_app_ends(tmp_path, number):
    write_picture(tmp_path / "scans" / "gray.png", 140)
    command = ["medvision", "app", str(tmp_path / "scans")]
    with serving(command, end=number, TMPDIR=str(tmp_path)) as address:
        ask(address.removeprefix("http://"), "/")
        for _ in range(300):
            if list(tmp_path.glob("medvision-app-*")):
                break
            time.sleep(0.1)
        assert list(tmp_path.glob("medvision-app-*"))
    for _ in range(300):
        if not list(tmp_path.glob("medvision-app-*")):
            break
        time.sleep(0.1)
    assert not list(tmp_path.glob("medvision-app-*"))
