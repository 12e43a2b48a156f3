"""Physics and speech: what is made of their files, and how it is read."""

from __future__ import annotations

import wave
import zipfile
from pathlib import Path

import numpy as np
import pytest

from nc_core.datasets.prepare import FileState, prepare_dataset, verify_dataset
from nc_core.errors import DataError, UsageError
from nc_core.models import installed
from nc_core.specs import DatasetSpec
from nc_rd_bounds.sources.speech import frame_window, read_speech, spectral_features
from nc_rd_bounds.sources.vectors import evaluation_pair, first, open_source

SOURCES = Path("data", "rd-sources")
RECORDINGS = Path("speech", "fsdd-theo-wav.zip")


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NC_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def prepare(name: str, source: Path) -> list[str]:
    return [check.file.name for check in prepare_dataset(find(name), source)]


def find(name: str) -> DatasetSpec:
    return installed().find(DatasetSpec, name)


def samples_of(shared: Path, name: str) -> np.ndarray:
    with (
        zipfile.ZipFile(shared / SOURCES / RECORDINGS) as archive,
        archive.open(name) as file,
        wave.open(file) as recording,
    ):
        return np.frombuffer(recording.readframes(recording.getnframes()), "<i2")


def write_wav(path: Path, samples: np.ndarray, channels: int = 1, width: int = 2) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(8000)
        file.writeframes(samples.astype("<i2").tobytes())


def test_physics_is_what_the_files_hold(shared: Path) -> None:
    assert prepare("physics", shared / SOURCES) == ["test.npy"]
    assert prepare("physics-2d", shared / SOURCES / "physics") == ["test.npy"]
    events = np.load(shared / SOURCES / "physics" / "ppzee-split=test.npy")
    source = open_source("physics")
    assert (source.name, source.shape, source.length) == ("physics:test", (16,), 10_000)
    np.testing.assert_array_equal(first(source, 10_000), events.astype(np.float32))
    pairs = np.load(shared / SOURCES / "physics" / "n=2-ppzee-split=test.npy")
    np.testing.assert_array_equal(first(open_source("physics-2d"), 10_000), pairs.astype("f4"))
    assert np.linalg.matrix_rank(first(source, 1000)) == 14
    assert [check.state for check in verify_dataset(find("physics"))] == [FileState.RIGHT]


def test_rows_of_physics_are_held_out_while_there_is_no_other_split(shared: Path) -> None:
    prepare("physics-2d", shared / SOURCES)
    training, evaluation = evaluation_pair("physics-2d")
    assert training.name == "physics-2d:test (9,000 of 10,000 rows)"
    assert evaluation.length == 1000
    rows = {row.tobytes() for row in first(training, 9000)}
    assert not any(row.tobytes() in rows for row in first(evaluation, 1000))
    with pytest.raises(DataError, match="physics-2d:train is not prepared") as error:
        open_source("physics-2d:train")
    assert error.value.hint == "there is physics-2d:test"


def test_both_splits_of_physics_are_used_where_they_are(tmp_path: Path) -> None:
    for split, rows in (("train", 30), ("test", 10)):
        events = np.random.RandomState(rows).randn(rows, 16)
        np.save(tmp_path / f"ppzee-split={split}.npy", events)
    assert prepare("physics", tmp_path) == ["test.npy", "train.npy"]
    pair = evaluation_pair("physics")
    assert [source.name for source in pair] == ["physics:train", "physics:test"]
    assert prepare("physics-2d", tmp_path / "ppzee-split=test.npy") == ["test.npy", "train.npy"]
    np.testing.assert_array_equal(
        first(open_source("physics-2d:train"), 30), first(pair[0], 30)[:, [12, 11]]
    )


def test_what_is_not_prepared_is_one_line() -> None:
    for name in ("physics", "speech-2d:test"):
        with pytest.raises(DataError, match="is not prepared") as error:
            evaluation_pair(name)
        assert "--from PATH" in (error.value.hint or "")
    with pytest.raises(UsageError, match="cannot be downloaded") as usage:
        prepare_dataset(find("speech"))
    assert "free-spoken-digit-dataset" in (usage.value.hint or "")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones((5, 15)), r"shape \(5, 15\), expected \(n, 16\)"),
        (np.ones((5, 16), int), "expected real numbers"),
        (np.full((5, 16), np.nan), "not finite"),
    ],
)
def test_damaged_physics_is_one_line(
    tmp_path: Path, data: Path, array: np.ndarray, message: str
) -> None:
    np.save(tmp_path / "ppzee-split=test.npy", array)
    with pytest.raises(DataError, match=message):
        prepare("physics", tmp_path)
    assert not (data / "physics" / "test.npy").exists()


def test_folders_without_the_files_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no ppzee-split=test\.npy"):
        prepare("physics", tmp_path)
    with pytest.raises(DataError, match="neither recordings 0_theo_0"):
        prepare("speech", tmp_path)
    with pytest.raises(DataError, match="no such file"):
        prepare("speech", tmp_path / "nowhere")


def test_the_window_ends_with_zero_as_the_originals(shared: Path) -> None:
    golden = np.load(shared / "golden/rd-bounds-vector/sources/speech_stft.npz")["window63"]
    np.testing.assert_allclose(frame_window(), golden, atol=1e-7)
    assert frame_window()[-1] == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("name", ["0_theo_0", "7_theo_49"])
def test_features_are_the_originals(shared: Path, name: str) -> None:
    golden = np.load(shared / "golden/rd-bounds-vector/sources/speech_stft.npz")
    features = spectral_features(samples_of(shared, f"{name}.wav"))
    assert features.dtype == np.float32
    assert len(features) == golden[f"{name}/n_frames"]
    np.testing.assert_allclose(features[:120], golden[f"{name}/frames_0_120"], atol=5e-4)
    np.testing.assert_allclose(features[::200], golden[f"{name}/frames_every_200"], atol=5e-4)
    np.testing.assert_allclose(
        features.mean(axis=0, dtype=float), golden[f"{name}/mean"], atol=5e-4
    )
    np.testing.assert_allclose(features.std(axis=0, dtype=float), golden[f"{name}/std"], atol=5e-4)


def test_speech_has_the_statistics_of_the_papers_arrays(shared: Path) -> None:
    splits = read_speech(shared / SOURCES / RECORDINGS)
    assert {name: split.count for name, split in splits.items()} == {
        "train": 1_398_748,
        "test": 125_701,
    }
    rows = np.concatenate([part for part, _ in splits["test"].read()])
    assert rows.shape == (125_701, 33) and rows.dtype == np.float32
    assert rows.mean(dtype=float) == pytest.approx(-5.675, abs=1e-3)
    assert rows.std(dtype=float) == pytest.approx(1.586, abs=1e-3)
    assert rows.max() == pytest.approx(-0.71, abs=0.01)
    assert np.corrcoef(rows[:, 30], rows[:, 10])[0, 1] == pytest.approx(0.00014, abs=1e-4)
    theirs = np.load(shared / SOURCES / "speech" / "n=2-stft-split=test.npy")
    for ours, column in zip(rows[:, [30, 10]].T, theirs.T, strict=True):
        np.testing.assert_allclose(np.sort(ours), np.sort(column), atol=0.02)


def test_speech_is_made_of_an_archive_and_of_a_folder(shared: Path, tmp_path: Path) -> None:
    wanted = ["0_theo_0.wav", "0_theo_5.wav", "7_theo_49.wav"]
    folder = tmp_path / "digits" / "recordings"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(shared / SOURCES / RECORDINGS) as archive:
        for name in wanted:
            (folder / name).write_bytes(archive.read(name))
    write_wav(folder / "0_lucas_0.wav", np.zeros(100))
    with zipfile.ZipFile(tmp_path / "digits.zip", "w") as archive:
        for name in wanted:
            archive.write(folder / name, f"digits-master/recordings/{name}")
    prepare("speech", tmp_path / "digits")
    prepare("speech-2d", tmp_path / "digits.zip")
    training, evaluation = evaluation_pair("speech")
    assert (evaluation.length, training.length) == (3080, 2787 + len(
        spectral_features(samples_of(shared, "0_theo_5.wav"))
    ))  # fmt: skip
    features = spectral_features(samples_of(shared, "0_theo_0.wav"))
    rows = first(evaluation, 3080)
    assert {row.tobytes() for row in rows} == {row.tobytes() for row in features}
    assert not np.array_equal(rows, features)  # neighbouring frames are not neighbours
    np.testing.assert_array_equal(first(open_source("speech-2d:test"), 3080), rows[:, [30, 10]])


def test_ready_features_serve_as_well(shared: Path) -> None:
    for name, dims in (("speech", 33), ("speech-2d", 2)):
        prepare(name, shared / SOURCES / "speech")
        pair = evaluation_pair(name)
        assert [source.name for source in pair] == [f"{name}:train", f"{name}:test"]
        assert pair[0].shape == (dims,)
    assert open_source("speech-2d:test").length == 125_701


@pytest.mark.parametrize("kind", ["stereo", "text", "cut", "cut later", "8 bits"])
def test_recordings_of_another_form_are_named(tmp_path: Path, data: Path, kind: str) -> None:
    for index in (0, 5):
        write_wav(tmp_path / f"0_theo_{index}.wav", np.zeros(200))
    bad = tmp_path / "0_theo_5.wav"
    if kind == "stereo":
        write_wav(bad, np.zeros(200), channels=2)
    elif kind == "8 bits":
        write_wav(bad, np.zeros(200), width=1)
    else:
        bad.write_bytes(
            b"not a recording"
            if kind == "text"
            else bad.read_bytes()[: 20 if kind == "cut" else -50]
        )
    with pytest.raises(DataError, match=r"0_theo_5\.wav: (2 channels|1 channels|damaged)"):
        prepare("speech", tmp_path)
    assert not (data / "speech" / "prepared.json").exists()


def test_a_split_without_recordings_is_one_line(tmp_path: Path) -> None:
    write_wav(tmp_path / "0_theo_0.wav", np.zeros(200))
    write_wav(tmp_path / "0_theo_9.wav", np.zeros(62))
    with pytest.raises(DataError, match="no recordings of the train split"):
        prepare("speech", tmp_path)


def test_a_recording_shorter_than_a_frame_has_no_features() -> None:
    assert spectral_features(np.zeros(62, np.int16)).shape == (0, 33)
    silence = spectral_features(np.zeros(63, np.int16))
    np.testing.assert_allclose(silence, np.log(2.220446e-16), rtol=1e-6)
