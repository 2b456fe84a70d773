import errno
import subprocess
import sys
from pathlib import Path

import pytest

from castline.errors import DataError, DeviceError
from castline.files import atomic_write, os_error, read_json, sha256_file, sha256_json, write_json


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"b": 1, "a": "é"})
    before = path.read_bytes()
    with pytest.raises(TypeError), atomic_write(path) as file:
        file.write("half, and of the wrong type")  # type: ignore[arg-type]
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
    assert read_json(path) == {"b": 1, "a": "é"}
    assert sha256_json({"a": 1, "b": 2}) == sha256_json({"b": 2, "a": 1})


def test_sha256_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    # FIPS 180-4, the published example.
    assert sha256_file(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_reading_what_is_not_there_or_not_json(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_json(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(DataError, match="expected JSON"):
        read_json(tmp_path / "bad.json")


def test_disk_full_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    # A file size limit makes the kernel refuse a real write, as a full disk does.
    program = (
        "import resource, signal, sys; from pathlib import Path; from castline.files import write_bytes;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096));"
        "write_bytes(Path(sys.argv[1]), bytes(100_000))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "big")], capture_output=True, text=True, check=False
    )
    assert "DeviceError: no space left" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_refusals_of_the_operating_system_become_device_errors(tmp_path: Path) -> None:
    assert isinstance(os_error(OSError(errno.EACCES, "Permission denied"), tmp_path), DeviceError)
    assert "choose a folder" in str(os_error(OSError(errno.EROFS, "Read-only file system"), tmp_path))
