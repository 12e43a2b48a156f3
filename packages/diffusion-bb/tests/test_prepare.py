"""``nc run diffusion-bb prepare``: images of the paper's experiments, from what users have."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from nc_core.datasets.cifar10 import read_cifar10
from nc_core.errors import DataError, NcError
from nc_core.images import read_image
from nc_diffusion_bb.commands.prepare import prepare
from nc_diffusion_bb.config import ModelConfig
from nc_diffusion_bb.data import open_images
from nc_diffusion_bb.digits import bordered, halved
from nc_diffusion_bb.prepare import CIFAR10_CLASSES


@pytest.fixture(autouse=True)
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NC_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(prepare, [str(a) for a in arguments], catch_exceptions=False)


def lines(result: Result) -> list[str]:
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def stand_in(shared: Path) -> Path:
    return shared / "data" / "cifar10-format-standin"


def test_cifar10_becomes_files_with_the_original_s_names(shared: Path, tmp_path: Path) -> None:
    out = tmp_path / "cifar10"
    result = run("cifar10", "--from", stand_in(shared), "-o", out)
    assert lines(result) == [
        f"{out / 'train_32x32'}: 1,000 images",
        f"{out / 'valid_32x32'}: 200 images",
    ]
    assert "1,000 images, officially 50,000" in result.stderr
    assert names(out) == ["train_32x32", "valid_32x32"]
    images, labels = next(read_cifar10(stand_in(shared))["test"].read())
    assert labels is not None
    expected = [f"{CIFAR10_CLASSES[label]}_{k:05d}.png" for k, label in enumerate(labels)]
    assert names(out / "valid_32x32") == sorted(expected)
    for name, pixels in zip(expected, images, strict=True):
        np.testing.assert_array_equal(read_image(out / "valid_32x32" / name).pixels, pixels)
    folder = open_images(f"folder:{out / 'valid_32x32'}", ModelConfig(classes=10))
    order = [expected.index(name) for name in sorted(expected)]
    np.testing.assert_array_equal(folder.first(200), images[order].transpose(0, 3, 1, 2))
    numbers = {name: number for number, name in enumerate(sorted(CIFAR10_CLASSES))}
    found = folder.labels(np.arange(200))
    assert found is not None
    assert found.tolist() == [numbers[CIFAR10_CLASSES[labels[k]]] for k in order]


def test_cifar10_that_nc_has_is_used(shared: Path, tmp_path: Path) -> None:
    from nc_core.datasets.opening import find_dataset
    from nc_core.datasets.prepare import prepare_dataset

    prepare_dataset(find_dataset("cifar10"), stand_in(shared))
    told = lines(run("cifar10", "-o", tmp_path / "out"))
    assert told[1].endswith("valid_32x32: 200 images")
    run("cifar10", "--from", stand_in(shared), "-o", tmp_path / "given")
    for name in ("train_32x32", "valid_32x32"):
        assert files(tmp_path / "out" / name) == files(tmp_path / "given" / name)


def test_what_is_there_is_skipped_or_replaced(shared: Path, tmp_path: Path) -> None:
    arguments = ("cifar10", "--from", stand_in(shared), "-o", tmp_path)
    run(*arguments)
    lost = next((tmp_path / "train_32x32").iterdir())
    lost.unlink()
    (tmp_path / "train_32x32" / "stranger_00000.png").write_bytes(b"x")
    skipped = lines(run(*arguments))
    assert all(line.endswith("exists, skipped") for line in skipped)
    assert not lost.exists()
    lines(run(*arguments, "--force"))
    assert lost.exists()
    assert len(names(tmp_path / "train_32x32")) == 1000


def test_an_interrupted_job_goes_on_where_it_was(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("cifar10", "--from", stand_in(shared), "-o", tmp_path / "out")
    run(*arguments[:-1], tmp_path / "undisturbed")
    written: list[Path] = []
    original = Path.write_bytes

    def write(path: Path, data: bytes) -> int:
        written.append(path)
        if len(written) == 100:
            original(path, data[:50])
            raise KeyboardInterrupt
        return original(path, data)

    monkeypatch.setattr(Path, "write_bytes", write)
    CliRunner().invoke(prepare, [str(argument) for argument in arguments])
    assert names(tmp_path / "out") == [".train_32x32.partial"]
    assert len(names(tmp_path / "out" / ".train_32x32.partial")) == 100
    (tmp_path / "out" / ".train_32x32.partial" / "stranger.png").touch()
    lines(run(*arguments))
    assert len(written) == 100 + 901 + 200
    for name in ("train_32x32", "valid_32x32"):
        assert files(tmp_path / "out" / name) == files(tmp_path / "undisturbed" / name)
    assert names(tmp_path / "out") == ["train_32x32", "valid_32x32"]


@pytest.mark.parametrize("broken", ["malicious_cifar", "kodak"])
def test_other_files_are_no_cifar10(shared: Path, tmp_path: Path, broken: str) -> None:
    folder = shared / "data" / ("broken/malicious_cifar" if broken == "malicious_cifar" else broken)
    with pytest.raises(DataError):
        run("cifar10", "--from", folder, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not list(Path.cwd().glob("PWNED"))


def pictures(shared: Path) -> Path:
    return shared / "data" / "imagenet64-sample"


def as_folder(source: Path, target: Path) -> Path:
    return source


def as_one_zip(source: Path, target: Path) -> Path:
    path = target / "small.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for picture in sorted(source.rglob("*.png")):
            archive.write(picture, f"kaggle/{picture.relative_to(source).as_posix()}")
        archive.writestr("kaggle/train_64x64/._1.png", b"not an image")
    return path


def as_two_tars(source: Path, target: Path) -> Path:
    for name in ("train_64x64", "valid_64x64"):
        with tarfile.open(target / f"{name}.tar.gz", "w:gz") as archive:
            archive.add(source / name, name)
    return target


@pytest.mark.parametrize("form", [as_folder, as_one_zip, as_two_tars])
def test_pictures_of_imagenet_stay_as_they_are(
    shared: Path, tmp_path: Path, form: Callable[[Path, Path], Path]
) -> None:
    made = tmp_path / "made"
    made.mkdir()
    out = tmp_path / "out"
    result = run("imagenet64", "--from", form(pictures(shared), made), "-o", out)
    assert [line.rpartition(": ")[2] for line in lines(result)] == ["200 images", "50 images"]
    assert "50 images, officially 49,999" in result.stderr
    for name in ("train_64x64", "valid_64x64"):
        assert files(out / name) == files(pictures(shared) / name)
    assert names(out) == ["train_64x64", "valid_64x64"]


def write_batches(folder: Path) -> np.ndarray:
    rows = np.random.default_rng(0).integers(0, 256, (3, 2, 3 * 64 * 64), np.uint8)
    batches = ("train_data_batch_1.npz", "train_data_batch_2.npz", "val_data.npz")
    for name, data in zip(batches, rows, strict=True):
        np.savez(folder / name, data=data, labels=np.array([1, 1000]))
    return rows.reshape(6, 3, 64, 64).transpose(0, 2, 3, 1)


@pytest.mark.parametrize("packed", [False, True])
def test_batches_of_imagenet_are_numbered(tmp_path: Path, packed: bool) -> None:
    source = tmp_path / "made"
    source.mkdir()
    images = write_batches(source)
    if packed:
        for number, pattern in enumerate(("train*.npz", "val*.npz")):
            with zipfile.ZipFile(source / f"part{number}.zip", "w") as archive:
                for path in sorted(source.glob(pattern)):
                    archive.write(path, path.name)
                    path.unlink()
    out = tmp_path / "out"
    lines(run("imagenet64", "--from", source, "-o", out))
    assert names(out) == ["train_64x64", "valid_64x64"]
    assert names(out / "train_64x64") == [f"{number:07d}.png" for number in range(1, 5)]
    assert names(out / "valid_64x64") == ["00001.png", "00002.png"]
    np.testing.assert_array_equal(read_image(out / "train_64x64" / "0000003.png").pixels, images[2])
    np.testing.assert_array_equal(read_image(out / "valid_64x64" / "00002.png").pixels, images[5])


def test_one_split_of_imagenet_is_enough(shared: Path, tmp_path: Path) -> None:
    archive = tmp_path / "valid_64x64.tar"
    with tarfile.open(archive, "w") as opened:
        for path in sorted((pictures(shared) / "valid_64x64").iterdir()):
            opened.add(path, path.name)
    assert len(lines(run("imagenet64", "--from", archive, "-o", tmp_path / "out"))) == 1
    assert names(tmp_path / "out") == ["valid_64x64"]


def a_picture_of_another_size(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive, archive.open("train_64x64/1.png", "w") as file:
        Image.new("RGB", (64, 32)).save(file, "PNG")


def a_damaged_picture(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train_64x64/1.png", b"\x89PNG")


def a_huge_picture(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train_64x64/1.png", bytes(1 << 21))


def other_files(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train_32x32/1.png", b"")


def half_an_archive(path: Path) -> None:
    a_picture_of_another_size(path)
    path.write_bytes(path.read_bytes()[:60])


def text(path: Path) -> None:
    path.write_text("no archive\n" * 100)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (a_picture_of_another_size, r"train_64x64/1\.png: uint8 \(32, 64, 3\), expected"),
        (a_damaged_picture, r"train_64x64/1\.png: "),
        (a_huge_picture, "2,097,152 bytes"),
        (other_files, "neither train_64x64 or valid_64x64 nor npz"),
        (half_an_archive, "damaged, or not an archive"),
        (text, "damaged, or not an archive"),
    ],
)
def test_other_archives_are_refused(
    tmp_path: Path, make: Callable[[Path], None], reason: str
) -> None:
    make(tmp_path / "x.zip")
    with pytest.raises(DataError, match=reason):
        run("imagenet64", "--from", tmp_path / "x.zip", "-o", tmp_path / "out")
    assert not (tmp_path / "out" / "train_64x64").exists()


def test_imagenet_must_be_given(tmp_path: Path) -> None:
    with pytest.raises(NcError, match="must be given"):
        run("imagenet64", "-o", tmp_path / "out")
    with pytest.raises(DataError, match="no downsampled ImageNet"):
        run("imagenet64", "--from", tmp_path, "-o", tmp_path / "out")


def test_digits_are_those_of_the_reference_experiment(shared: Path, tmp_path: Path) -> None:
    out = tmp_path / "mnist16"
    told = lines(run("mnist16", "--from", shared / "data" / "mnist", "-o", out))
    assert told == [f"{out / 'train.npy'}: 60,000 digits", f"{out / 'test.npy'}: 10,000 digits"]
    with np.load(shared / "golden" / "diffusion-bb" / "trained_m16.npz") as arrays:
        golden = arrays["images"]
    images = open_images(f"npy:{out / 'test.npy'}", ModelConfig(channels=1, image_size=16))
    np.testing.assert_array_equal(images.first(64), golden)
    (out / "test.npy").write_bytes(b"mine")
    assert lines(run("mnist16", "-o", out))[1].endswith("exists, skipped")
    assert (out / "test.npy").read_bytes() == b"mine"


def test_digits_are_not_found_in_another_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"{tmp_path}: official files of 'mnist' are not there"):
        run("mnist32", "--from", tmp_path, "-o", tmp_path / "out")


def test_digits_get_a_border_and_are_halved_with_rounding_up() -> None:
    digits = np.zeros((1, 28, 28), np.uint8)
    digits[0, :2, :2] = [[1, 0], [0, 1]]  # a mean of 0.5
    digits[0, 0, 2] = 1  # a mean of 0.25
    large = bordered(digits)
    assert large.shape == (1, 32, 32)
    assert large[0, 2:4, 2:5].tolist() == [[1, 0, 1], [0, 1, 0]]
    small = halved(large)
    assert small.shape == (1, 16, 16)
    assert small[0, 1, 1:3].tolist() == [1, 0]
    assert halved(np.full((1, 2, 2), 255, np.uint8)).item() == 255
