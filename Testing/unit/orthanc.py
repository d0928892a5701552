"""A real archive on loopback for the tests that need one: Orthanc, Debian's package."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

PROGRAM = shutil.which("Orthanc", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
PLUGINS = ("/usr/share/orthanc/plugins", "/usr/lib/orthanc")
WAIT_S = 30.0


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextmanager
def archive_server(folder, modalities=None):
    """Start an empty archive; give the arguments by which it is reached, and its REST address."""
    http, dicom = free_port(), free_port()
    plugins = [path for path in PLUGINS if Path(path, "libOrthancDicomWeb.so").exists()]
    settings = {
        **{"Name": "archive", "StorageDirectory": str(folder), "IndexDirectory": str(folder)},
        **{"HttpPort": http, "DicomPort": dicom, "DicomAet": "ORTHANC"},
        **{"RemoteAccessAllowed": False, "AuthenticationEnabled": False},
        **{"DicomAlwaysAllowStore": True, "DicomAlwaysAllowFind": True},
        **{"DicomAlwaysAllowGet": True, "Plugins": plugins[:1]},
        "DicomModalities": modalities or {},
    }
    path = folder / "orthanc.json"
    path.write_text(json.dumps(settings), encoding="utf-8")
    server = subprocess.Popen(
        [PROGRAM, str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    rest = f"http://127.0.0.1:{http}"
    try:
        _wait(rest)
        yield {"node": f"ORTHANC@127.0.0.1:{dicom}", "web": f"{rest}/dicom-web", "rest": rest}
    finally:
        server.terminate()
        server.wait(WAIT_S)


def _wait(rest):
    end = time.monotonic() + WAIT_S
    while True:
        try:
            with urllib.request.urlopen(f"{rest}/system", timeout=1):
                return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
