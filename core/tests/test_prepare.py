"""Official files are brought whole, checked, and brought once."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cifar_batches import pack, write_batches
from nc_core import open_dataset
from nc_core.datasets.prepare import FileState, prepare_dataset, verify_dataset
from nc_core.errors import DataError, UsageError
from nc_core.models import installed
from nc_core.specs import DatasetSpec, RemoteFile

CONTENTS = {"one.bin": b"first" * 1000, "two.bin": bytes(range(256)) * 20}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder of this test."""
    monkeypatch.setenv("NC_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A web server on this machine that holds the official files."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield running
        finally:
            running.shutdown()
            thread.join()


class Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.contents = dict(CONTENTS)
        self.requests: list[str] = []
        self.promised_bytes: int | None = None

    @property
    def spec(self) -> DatasetSpec:
        return spec(f"http://127.0.0.1:{self.server_port}/")


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        name = self.path.lstrip("/")
        self.server.requests.append(name)
        content = self.server.contents.get(name)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        length = self.server.promised_bytes or len(content)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


def spec(url: str = "http://127.0.0.1:9/") -> DatasetSpec:
    files = tuple(
        RemoteFile(name, url + name, hashlib.sha256(content).hexdigest(), len(content))
        for name, content in CONTENTS.items()
    )
    return DatasetSpec(name="toy", summary="two files", target="a:b", files=files)


def folder_of(contents: dict[str, bytes], folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return folder


def states(dataset: DatasetSpec) -> list[str]:
    return [str(check.state) for check in verify_dataset(dataset)]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_mnist_is_prepared_from_a_folder_and_opens(
    shared: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mnist = installed().find(DatasetSpec, "mnist")
    brought = prepare_dataset(mnist, shared / "data" / "mnist")
    assert [check.file.name for check in brought] == [file.name for file in mnist.files]
    assert set(states(mnist)) == {"ok"}
    assert int(open_dataset("mnist:test")[0]["label"]) == 7


def test_kodak_is_prepared_from_the_folder_above(shared: Path, data: Path) -> None:
    kodak = installed().find(DatasetSpec, "kodak")
    assert kodak.download_bytes == 15_394_305
    assert len(prepare_dataset(kodak, shared / "data")) == 24
    assert open_dataset("kodak")[23]["image"].shape == (512, 768, 3)


def test_what_is_right_already_is_not_brought_again(tmp_path: Path, data: Path) -> None:
    source = folder_of(CONTENTS, tmp_path / "have")
    assert len(prepare_dataset(spec(), source)) == 2
    before = (data / "toy" / "one.bin").stat().st_mtime_ns
    shutil.rmtree(source)
    source.mkdir()
    assert prepare_dataset(spec(), source) == []
    assert prepare_dataset(spec()) == []
    assert (data / "toy" / "one.bin").stat().st_mtime_ns == before


def test_a_folder_that_does_not_exist_is_an_error_even_when_nothing_is_wanted(
    tmp_path: Path, data: Path
) -> None:
    prepare_dataset(spec(), folder_of(CONTENTS, tmp_path / "have"))
    with pytest.raises(DataError, match="nope: no such file"):
        prepare_dataset(spec(), tmp_path / "nope")


def test_damaged_and_missing_files_are_told_apart_and_repaired(tmp_path: Path, data: Path) -> None:
    source = folder_of(CONTENTS, tmp_path / "have")
    assert states(spec()) == ["missing", "missing"]
    prepare_dataset(spec(), source)
    (data / "toy" / "one.bin").write_bytes(b"FIRST" * 1000)
    (data / "toy" / "two.bin").write_bytes(b"short")
    checks = verify_dataset(spec())
    assert [check.state for check in checks] == [FileState.WRONG_CONTENT, FileState.WRONG_SIZE]
    assert [check.size for check in checks] == [5000, 5]
    assert len(prepare_dataset(spec(), source)) == 2
    assert states(spec()) == ["ok", "ok"]


@pytest.mark.parametrize("content", [b"wrong" * 1000, b"first" * 999, b"first" * 1001, b""])
def test_a_file_that_is_not_the_official_one_is_refused(
    content: bytes, tmp_path: Path, data: Path
) -> None:
    source = folder_of({**CONTENTS, "one.bin": content}, tmp_path / "have")
    with pytest.raises(DataError, match=r"one\.bin") as error:
        prepare_dataset(spec(), source)
    assert "\n" not in error.value.message
    assert names_in(data / "toy") == []


def test_files_that_a_folder_lacks_are_named_before_anything_is_copied(
    tmp_path: Path, data: Path
) -> None:
    source = folder_of({"one.bin": CONTENTS["one.bin"]}, tmp_path / "have")
    with pytest.raises(DataError, match=r"not there: two\.bin"):
        prepare_dataset(spec(), source)
    with pytest.raises(DataError, match="no such"):
        prepare_dataset(spec(), tmp_path / "nowhere")
    assert not data.exists()


def test_files_are_downloaded_with_progress(server: Server, data: Path) -> None:
    seen: list[tuple[str, int]] = []
    prepare_dataset(server.spec, progress=lambda file, done: seen.append((file.name, done)))
    assert states(server.spec) == ["ok", "ok"]
    assert ("one.bin", 5000) in seen
    assert ("two.bin", 5120) in seen
    assert (data / "toy" / "one.bin").read_bytes() == CONTENTS["one.bin"]


def test_an_interrupted_download_goes_on_with_the_next_file(server: Server, data: Path) -> None:
    del server.contents["two.bin"]
    with pytest.raises(DataError, match="the server answers 404"):
        prepare_dataset(server.spec)
    assert names_in(data / "toy") == ["one.bin"]
    server.contents["two.bin"] = CONTENTS["two.bin"]
    server.requests.clear()
    prepare_dataset(server.spec)
    assert server.requests == ["two.bin"]
    assert states(server.spec) == ["ok", "ok"]


def test_a_download_with_other_content_is_refused(server: Server, data: Path) -> None:
    server.contents["one.bin"] = b"wrong" * 1000
    with pytest.raises(DataError, match=r"one\.bin: sha256"):
        prepare_dataset(server.spec)
    assert names_in(data / "toy") == []


def test_a_download_that_breaks_off_is_refused(server: Server, data: Path) -> None:
    server.promised_bytes = 6000
    with pytest.raises(DataError, match=r"one\.bin"):
        prepare_dataset(server.spec)
    assert names_in(data / "toy") == []


def test_no_network_is_one_line_with_a_way_out(
    data: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(DataError, match=r"no connection to 127\.0\.0\.1") as error:
        prepare_dataset(spec("http://127.0.0.1:1/"))
    assert "\n" not in error.value.message
    assert error.value.hint == "with files that you have: nc data prepare toy --from PATH"
    assert names_in(data / "toy") == []
    assert capfd.readouterr() == ("", "")


def test_of_several_that_prepare_one_dataset_one_works(server: Server, data: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        brought = list(pool.map(prepare_dataset, [server.spec] * 4))
    assert sorted(map(len, brought)) == [0, 0, 0, 2]
    assert sorted(server.requests) == ["one.bin", "two.bin"]
    assert names_in(data / "toy") == ["one.bin", "two.bin"]
    assert names_in(data) == ["toy"]
    assert states(server.spec) == ["ok", "ok"]


PREPARE_CIFAR10 = """
import sys, time
from pathlib import Path
from nc_core.datasets.prepare import prepare_dataset
from nc_core.models import installed
from nc_core.specs import DatasetSpec

def slow(done, total):
    time.sleep(0.05)

spec = installed().find(DatasetSpec, "cifar10")
print(len(prepare_dataset(spec, Path(sys.argv[1]), converting=slow)))
"""


def start_preparing(source: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PREPARE_CIFAR10, str(source)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_processes_prepare_one_dataset_and_both_find_it(tmp_path: Path, data: Path) -> None:
    write_batches(tmp_path / "have")
    both = [start_preparing(tmp_path / "have") for _ in range(2)]
    answers = [process.communicate(timeout=60)[0].strip() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(answers) == ["0", "4"]
    assert names_in(data) == ["cifar10"]
    assert len(open_dataset("cifar10:train")) == 10


def test_a_killed_process_leaves_nothing_that_stays(tmp_path: Path, data: Path) -> None:
    write_batches(tmp_path / "have")
    process = start_preparing(tmp_path / "have")
    deadline = time.monotonic() + 60
    while not list((data / "cifar10").rglob(".nc-*.tmp")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    with pytest.raises(DataError, match="not prepared"):
        open_dataset("cifar10:train")
    cifar10 = installed().find(DatasetSpec, "cifar10")
    assert len(prepare_dataset(cifar10, tmp_path / "have")) == 4
    assert names_in(data / "cifar10") == [
        "prepared.json", "test-labels.npy", "test.npy", "train-labels.npy", "train.npy",
    ]  # fmt: skip
    assert names_in(data) == ["cifar10"]


def test_an_archive_is_downloaded_converted_and_removed(
    server: Server, tmp_path: Path, data: Path
) -> None:
    write_batches(tmp_path / "have")
    pack(tmp_path / "have", tmp_path / "toy.tar.gz")
    content = (tmp_path / "toy.tar.gz").read_bytes()
    server.contents = {"toy.tar.gz": content}
    sha256 = hashlib.sha256(content).hexdigest()
    url = f"http://127.0.0.1:{server.server_port}/toy.tar.gz"
    toy = replace(
        installed().find(DatasetSpec, "cifar10"),
        files=(RemoteFile("toy.tar.gz", url, sha256, len(content)),),
    )
    assert len(prepare_dataset(toy)) == 4
    assert prepare_dataset(toy) == []
    assert server.requests == ["toy.tar.gz"]
    assert "toy.tar.gz" not in names_in(data / "cifar10")
    assert len(open_dataset("cifar10:train")) == 10


def test_sources_of_the_users_own_files_have_nothing_to_prepare(data: Path) -> None:
    for name in ("folder", "npy"):
        own = installed().find(DatasetSpec, name)
        for work in (prepare_dataset, verify_dataset):
            with pytest.raises(UsageError, match="nothing to prepare") as error:
                work(own)
            assert f"{name}:PATH" in str(error.value)


def test_a_data_folder_that_cannot_be_written_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("NC_DATA", str(tmp_path / "file"))
    source = folder_of(CONTENTS, tmp_path / "have")
    with pytest.raises(DataError, match="file"):
        prepare_dataset(spec(), source)


def test_looking_up_a_dataset_imports_no_network_library() -> None:
    code = (
        "import sys, nc_core.datasets.opening, nc_core.datasets.prepare\n"
        "heavy = {'numpy', 'pooch', 'requests', 'PIL', 'platformdirs'} & set(sys.modules)\n"
        "sys.exit(repr(heavy) if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
