"""compress, decompress and info, as a user types them, in processes of their own."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nc_core.errors import ExitCode


def nc(
    *arguments: object, code: int = ExitCode.DONE, cwd: Path | None = None, **options: Any
) -> Any:
    """Run ``nc``; the test fails when it ends with another exit code or shows a traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "nc_cli", *map(str, arguments)],
        capture_output=True, cwd=cwd, check=False, **options,
    )  # fmt: skip
    errors = done.stderr.decode()
    assert done.returncode == code, errors
    assert "Traceback" not in errors
    return done


def picture(path: Path, *shape: int) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    waves = 120 + 60 * np.sin(x / 7) + 40 * np.cos(y / 5)
    noise = np.random.default_rng(0).normal(0, 3, shape)
    pixels = np.clip((waves if len(shape) == 2 else waves[..., None]) + noise, 0, 255)
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return np.asarray(Image.open(path))


def test_a_photograph_becomes_a_smaller_file_and_comes_back(tmp_path: Path) -> None:
    pixels = picture(tmp_path / "photo.png", 60, 80, 3)
    out = nc("compress", "photo.png", cwd=tmp_path).stdout.decode()
    packed = tmp_path / "photo.png.ncz"
    assert packed.stat().st_size < (tmp_path / "photo.png").stat().st_size
    assert f"{packed.stat().st_size:,} bytes" in out
    assert "identical" in out
    nc("decompress", packed, "-o", tmp_path / "back")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "back" / "photo.png")), pixels)


def test_json_is_one_rate_record_and_nothing_else(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 20, 30)
    packed = tmp_path / "x.ncz"
    document = json.loads(nc("compress", tmp_path / "a.png", "-o", packed, "--json").stdout)
    assert document["total_bits"] == 8 * packed.stat().st_size
    assert document["header_bits"] + document["payload_bits"] == document["total_bits"]
    assert document["verified"] is True
    assert document["dims"] == document["pixels"] == 600
    stored = json.loads(nc("info", packed, "--json").stdout)
    for key in ("total_bits", "payload_bits", "initial_bits", "bits_per_dim", "overhead_percent"):
        assert stored["rate"][key] == pytest.approx(document[key], rel=1e-6)
    assert stored["files"] == [{"name": "a.png", "shape": [20, 30], "dtype": "uint8"}]


def test_header_and_footer_of_a_photograph_take_at_most_600_bytes(tmp_path: Path) -> None:
    picture(tmp_path / "a photograph of a usual name.png", 64, 64, 3)
    document = json.loads(nc("compress", tmp_path, "-o", tmp_path / "x.ncz", "--json").stdout)
    assert document["header_bits"] <= 8 * 600


def test_a_folder_becomes_one_file(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    pixels = [picture(tmp_path / "in" / f"{i}.png", 20 + i, 30, 3) for i in range(3)]
    nc("compress", "in", cwd=tmp_path)
    nc("decompress", "in.ncz", "-o", "out", "--threads", 1, cwd=tmp_path)
    for i in range(3):
        assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / f"{i}.png")), pixels[i])


def test_standard_input_and_output(tmp_path: Path) -> None:
    pixels = picture(tmp_path / "a.png", 20, 30, 4)
    packed = nc("compress", "-", "-o", "-", input=(tmp_path / "a.png").read_bytes()).stdout
    (tmp_path / "b.png").write_bytes(nc("decompress", "-", "-o", "-", input=packed).stdout)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "b.png")), pixels)


def test_a_dataset_comes_back_as_one_npy(tmp_path: Path) -> None:
    rows = np.random.default_rng(1).integers(0, 99, (30, 8, 9), np.uint8)
    np.save(tmp_path / "x.npy", rows)
    nc("compress", "--dataset", f"npy:{tmp_path}/x.npy", "--limit", 20, "-o", tmp_path / "x.ncz")
    nc("decompress", tmp_path / "x.ncz", "-o", tmp_path / "out")
    (restored,) = (tmp_path / "out").iterdir()
    assert np.array_equal(np.load(restored), rows[:20])


def test_sixteen_bits_are_kept(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (20, 30)).astype(np.uint16)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    nc("compress", tmp_path / "a.png")
    nc("decompress", tmp_path / "a.png.ncz", "-o", tmp_path / "out")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / "a.png")), pixels)


def test_a_jpeg_that_grows_is_said_to_grow(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 64, 64, 3)
    Image.open(tmp_path / "a.png").save(tmp_path / "a.jpg", quality=20)
    assert "larger than before" in nc("compress", tmp_path / "a.jpg").stdout.decode()
    nc("decompress", tmp_path / "a.jpg.ncz", "-o", tmp_path / "out")
    assert (tmp_path / "out" / "a.jpg.png").exists()


def test_existing_files_are_kept_without_force(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 8, 8)
    nc("compress", tmp_path / "a.png")
    refused = nc("compress", tmp_path / "a.png", code=ExitCode.DATA)
    assert b"--force" in refused.stderr
    assert b"--force" in nc("decompress", tmp_path / "a.png.ncz", code=ExitCode.DATA).stderr
    nc("compress", tmp_path / "a.png", "--force")
    nc("decompress", tmp_path / "a.png.ncz", "--force")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["compress"], ExitCode.USAGE, "nothing to compress"),
        (["compress", "missing.png"], ExitCode.DATA, "missing.png: no such file"),
        (["compress", "text.png"], ExitCode.DATA, "text.png: not an image"),
        (["compress", "empty"], ExitCode.DATA, "empty: no image files"),
        (["compress", "a.png", "--model", "predictiv"], ExitCode.PLUGIN, "did you mean"),
        (["compress", "a.png", "--coder", "huffman"], ExitCode.PLUGIN, "no coder 'huffman'"),
        (["compress", "a.png", "--order", "bb-ans"], ExitCode.USAGE, "one order only"),
        (["compress", "a.png", "--order", "ans"], ExitCode.USAGE, "'bit-swap', 'bb-ans'"),
        (["compress", "a.png", "a.png", "-o", "x.ncz"], ExitCode.DATA, "two inputs"),
        (["compress", "a.png", "--limit", "3"], ExitCode.USAGE, "--limit needs --dataset"),
        (["compress", "a.png", "--dataset", "mnist", "-o", "x.ncz"], ExitCode.USAGE, "not both"),
        (["compress", "a.png", "-o", "-", "--json"], ExitCode.USAGE, "standard output"),
        (["compress", "a.png", "-o", "a.png/x.ncz"], ExitCode.DATA, "a.png"),
        (["decompress", "missing.ncz"], ExitCode.DATA, "missing.ncz: no such file"),
        (["decompress", "text.png"], ExitCode.CORRUPT, "not an .ncz file"),
        (["decompress", "cut.ncz", "-o", "out"], ExitCode.CORRUPT, "truncated"),
        (["decompress", "flipped.ncz", "-o", "out"], ExitCode.CORRUPT, "damaged"),
        (["info", "cut.ncz"], ExitCode.CORRUPT, "truncated"),
        (["info", "nothing-of-that-name"], ExitCode.PLUGIN, "no file, dataset or model"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)  # fmt: skip
def test_mistakes_end_in_one_line(
    tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    picture(tmp_path / "a.png", 8, 8)
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "empty").mkdir()
    nc("compress", tmp_path / "a.png", "-o", tmp_path / "good.ncz")
    data = bytearray((tmp_path / "good.ncz").read_bytes())
    (tmp_path / "cut.ncz").write_bytes(data[:-20])
    data[len(data) // 2] ^= 1
    (tmp_path / "flipped.ncz").write_bytes(data)
    before = sorted(tmp_path.rglob("*"))
    done = nc(*arguments, code=code, cwd=tmp_path)
    errors = done.stderr.decode()
    assert message in errors
    assert len(errors.strip().splitlines()) <= 2
    assert done.stdout == b""
    assert sorted(tmp_path.rglob("*")) == before


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 200, 300, 3)

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    environment = dict(os.environ, NUMBA_CACHE_DIR=os.devnull + "/x")
    done = nc(
        "compress",
        tmp_path / "a.png",
        code=ExitCode.FAILED,
        preexec_fn=small_files,
        env=environment,
    )
    assert b"too large" in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png"]


def test_every_file_of_the_zoo_of_odd_images_is_kept_or_refused(
    shared: Path, tmp_path: Path
) -> None:
    refused = {
        "animated.gif", "animated.webp", "bad_crc.png", "bomb_header.png", "bomb_medium.png",
        "cmyk.jpg", "empty.png", "text.png", "truncated.jpg", "truncated.png",
    }  # fmt: skip
    zoo = [p for p in (shared / "data" / "broken").iterdir()
           if p.suffix in {".png", ".jpg", ".gif", ".webp"}]  # fmt: skip
    kept = [p for p in zoo if p.name not in refused]
    for path in zoo:
        if path.name in refused:
            done = nc("compress", path, "-o", tmp_path / "x.ncz", code=ExitCode.DATA)
            assert path.name in done.stderr.decode()
            assert list(tmp_path.iterdir()) == []
    deep = {"rgb16.png"}
    try:
        import imagecodecs  # noqa: F401
    except ImportError:
        done = nc("compress", *[p for p in kept if p.name in deep], "-o", tmp_path / "x.ncz",
                  code=ExitCode.PLUGIN)  # fmt: skip
        assert b"pip install" in done.stderr
        kept = [p for p in kept if p.name not in deep]
    nc("compress", *kept, "-o", tmp_path / "x.ncz")
    nc("decompress", tmp_path / "x.ncz", "-o", tmp_path / "out")
    assert len(list((tmp_path / "out").iterdir())) == len(kept)
