"""Model files, their ids, the store of known models, and models by name, path and id."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nc_core
from nc_core.errors import CorruptFileError, DataError, ExitCode, PluginError
from nc_core.hookspecs import hookimpl
from nc_core.model_file import (
    ModelFile,
    read_model_file,
    store_model,
    stored_model,
    write_model_file,
)
from nc_core.models import find_model_file, is_model_path, load_model, model_by_id
from nc_core.plugins import PluginManager
from nc_core.predictive.model import PREDICTIVE_ID, load
from nc_core.specs import ModelSpec, Pretrained

stn = pytest.importorskip("safetensors.numpy", reason="model files are safetensors files")

FAMILY = "toy"
CONFIG = {"width": 3, "scale": 0.1, "levels": [1, 2], "name": "ü"}


def tensors() -> dict[str, np.ndarray[Any, Any]]:
    return {
        "b": np.arange(6, dtype=np.int32).reshape(2, 3),
        "a": np.array(1.5, np.float32),
        "empty": np.zeros((0, 4), np.uint8),
        "float/w": np.linspace(0, 1, 5),
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "toy-small.safetensors"


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NC_DATA", str(tmp_path / "data"))
    return tmp_path / "data" / "models"


# The file


def test_what_is_written_is_read(path: Path) -> None:
    written = write_model_file(path, FAMILY, CONFIG, tensors(), info={"recipe": "small"})
    file = read_model_file(path)
    assert (file.name, file.family, file.config, file.info) == (
        "toy-small", FAMILY, CONFIG, {"recipe": "small"}
    )  # fmt: skip
    assert file.id == written.id
    assert file.tensors().keys() == {"a", "b", "empty"}
    assert file.extras().keys() == {"w"}
    for name, array in tensors().items():
        read = (file.tensors() | {"float/w": file.extras()["w"]})[name]
        assert read.dtype == array.dtype
        assert read.shape == array.shape
        assert (read == array).all()


def test_the_id_is_the_documented_hash(path: Path) -> None:
    array = np.array([[1, 2]], np.int16)
    file = write_model_file(path, FAMILY, {"b": 1, "a": True}, {"t": array})
    digest = hashlib.sha256(b"\x01\x00\x02\x00").hexdigest()
    text = (
        f'{{"config":{{"a":true,"b":1}},"family":"toy","tensors":[["t","int16",[1,2],"{digest}"]]}}'
    )
    assert file.id == hashlib.sha256(text.encode()).hexdigest()


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    one, two = tmp_path / "a" / "m.safetensors", tmp_path / "b" / "m.safetensors"
    write_model_file(one, FAMILY, CONFIG, tensors())
    write_model_file(two, FAMILY, dict(reversed(CONFIG.items())), dict(reversed(tensors().items())))
    assert one.read_bytes() == two.read_bytes()


def test_the_id_does_not_depend_on_order_names_notes_extras_or_memory_layout(path: Path) -> None:
    plain = write_model_file(path, FAMILY, CONFIG, tensors()).id
    changed = dict(reversed(tensors().items())) | {"float/w": np.ones(9), "float/v": np.ones(1)}
    changed["b"] = np.asfortranarray(changed["b"].astype(">i4"))
    again = write_model_file(path, FAMILY, CONFIG, changed, name="other", info={"steps": 9})
    assert again.id == plain == read_model_file(path).id


@pytest.mark.parametrize(
    "change",
    [
        {"b": np.arange(6, dtype=np.int64).reshape(2, 3)},
        {"b": np.arange(6, dtype=np.int32).reshape(3, 2)},
        {"b": np.arange(1, 7, dtype=np.int32).reshape(2, 3)},
        {"c": np.zeros(1, np.int32)},
    ],
)
def test_the_id_depends_on_dtype_shape_bytes_and_names(
    path: Path, change: dict[str, np.ndarray[Any, Any]]
) -> None:
    plain = write_model_file(path, FAMILY, CONFIG, tensors()).id
    assert write_model_file(path, FAMILY, CONFIG, tensors() | change).id != plain


def test_the_id_depends_on_family_and_config(path: Path) -> None:
    ids = {
        write_model_file(path, FAMILY, CONFIG, tensors()).id,
        write_model_file(path, "toy-2", CONFIG, tensors()).id,
        write_model_file(path, FAMILY, CONFIG | {"width": 3.0}, tensors()).id,
    }
    assert len(ids) == 3


def test_a_model_may_have_no_tensors(path: Path) -> None:
    write_model_file(path, FAMILY, CONFIG, {})
    assert read_model_file(path).tensors() == {}


def test_what_cannot_be_stored_is_refused_and_nothing_is_left(path: Path) -> None:
    with pytest.raises(TypeError, match="complex128"):
        write_model_file(path, FAMILY, CONFIG, {"a": np.zeros(1, np.complex128)})
    with pytest.raises(TypeError, match="object"):
        write_model_file(path, FAMILY, CONFIG, {"a": np.array([None])})
    with pytest.raises(ValueError, match="Out of range float"):
        write_model_file(path, FAMILY, {"a": float("nan")}, {})
    with pytest.raises(DataError, match="one line"):
        write_model_file(path, FAMILY, CONFIG, {}, name="a\nb")
    with pytest.raises(DataError, match="kebab-case"):
        write_model_file(path, "nc_bitswap.model:load", CONFIG, {})
    assert list(path.parent.iterdir()) == []


def test_an_existing_file_is_replaced_only_on_demand(path: Path) -> None:
    write_model_file(path, FAMILY, CONFIG, tensors())
    with pytest.raises(DataError, match="file exists"):
        write_model_file(path, FAMILY, {}, {}, force=False)
    assert read_model_file(path).config == CONFIG


# Damage


def test_a_truncated_file_is_refused(path: Path) -> None:
    write_model_file(path, FAMILY, CONFIG, tensors())
    data = path.read_bytes()
    for length in [*range(0, len(data), 7), len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(DataError, match="not a whole model file") as caught:
            read_model_file(path)
        assert "\n" not in caught.value.message


def test_a_checkpoint_is_refused_with_the_way_to_a_model_file(path: Path) -> None:
    path.write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(DataError, match="a zip archive, as PyTorch's checkpoints are") as zipped:
        read_model_file(path)
    path.write_bytes(stn.save(tensors()))
    with pytest.raises(DataError, match="safetensors, but not a model file") as bare:
        read_model_file(path)
    for caught in (zipped, bare):
        assert caught.value.hint is not None
        assert "import-checkpoint" in caught.value.hint


def test_a_flipped_bit_anywhere_is_refused(path: Path) -> None:
    write_model_file(path, FAMILY, CONFIG, tensors(), info={"recipe": "small"})
    data = path.read_bytes()
    stream = np.random.Generator(np.random.Philox(0))
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1 << int(stream.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(DataError) as caught:
            read_model_file(path)
        assert str(path) in caught.value.message
        assert "\n" not in caught.value.message


def test_appended_bytes_are_refused(path: Path) -> None:
    write_model_file(path, FAMILY, CONFIG, tensors())
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(DataError):
        read_model_file(path)


def rewritten(path: Path, **changes: Any) -> None:
    """Write a file whose metadata say something else."""
    write_model_file(path, FAMILY, CONFIG, tensors())
    with stn.safe_open(path, framework="numpy") as file:
        document = json.loads(file.metadata()["nc"])
    text = json.dumps(document | changes)
    path.write_bytes(stn.save(tensors(), {"nc": text}))


def test_a_checkpoint_of_a_run_is_refused_with_the_way_to_its_model(path: Path) -> None:
    rewritten(path, schema="nc.checkpoint/1")
    with pytest.raises(DataError, match="a checkpoint to resume from, not a model file") as e:
        read_model_file(path)
    assert e.value.hint == "give the run directory"


def test_another_schema_is_refused_with_the_way_out(path: Path) -> None:
    rewritten(path, schema="nc.model/2")
    with pytest.raises(
        DataError, match=r"schema 'nc.model/2'; this program reads 'nc.model/1'"
    ) as e:
        read_model_file(path)
    assert e.value.hint == "pip install --upgrade nc-core"
    assert e.value.exit_code == ExitCode.DATA


@pytest.mark.parametrize(
    "change",
    [{"family": 3}, {"name": ""}, {"config": []}, {"id": None}, {"checksum": 1}, {"info": None}],
)
def test_metadata_of_the_wrong_form_are_refused(path: Path, change: dict[str, Any]) -> None:
    rewritten(path, **change)
    with pytest.raises(DataError):
        read_model_file(path)


def test_a_claimed_id_is_compared_with_the_weights(path: Path) -> None:
    rewritten(path, id="0" * 64)
    with pytest.raises(DataError, match="not those of its id"):
        read_model_file(path)


def test_a_huge_header_is_refused_before_it_is_read(path: Path) -> None:
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 1 << 30))
        file.truncate((1 << 30) + 8)  # sparse: takes no room
    with pytest.raises(DataError, match="its header claims 1,073,741,824 bytes"):
        read_model_file(path)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"schema": NaN}', '"\\ud800"', "{", "null"])
def test_json_that_is_none_is_refused(path: Path, text: str) -> None:
    path.write_bytes(stn.save({}, {"nc": text}))
    with pytest.raises(DataError):
        read_model_file(path)


def test_other_files_are_no_model_files(path: Path, tmp_path: Path) -> None:
    path.write_bytes(stn.save(tensors()))
    with pytest.raises(DataError, match="not a model file of nc"):
        read_model_file(path)
    with pytest.raises(DataError, match="no such file"):
        read_model_file(tmp_path / "none.safetensors")
    with pytest.raises(DataError):
        read_model_file(tmp_path)


@pytest.mark.parametrize(
    ("entry", "match"),
    [
        ({"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}, "BF16"),
        ({"dtype": "U8", "shape": [0, *[1] * 20], "data_offsets": [0, 0]}, "impossible shape"),
        ({"dtype": "U8", "shape": [0, 1 << 50], "data_offsets": [0, 0]}, "impossible shape"),
    ],
)
def test_a_dtype_or_shape_that_numpy_lacks_is_refused(
    path: Path, entry: dict[str, Any], match: str
) -> None:
    write_model_file(path, FAMILY, {}, {})
    length = struct.unpack("<Q", path.read_bytes()[:8])[0]
    header = json.loads(path.read_bytes()[8 : 8 + length])
    text = json.dumps(header | {"t": entry}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(entry["data_offsets"][1]))
    with pytest.raises(DataError, match=match):
        read_model_file(path)


# The store


def test_the_store_keeps_what_decoding_needs(path: Path, store: Path) -> None:
    file = write_model_file(path, FAMILY, CONFIG, tensors(), info={"recipe": "small"})
    assert stored_model(file.id) is None
    target = store_model(file)
    assert target == store / f"{file.id}.safetensors"
    found = stored_model(file.id)
    assert found is not None
    assert (found.id, found.name, found.info) == (file.id, "toy-small", {"recipe": "small"})
    assert found.extras() == {}


def test_storing_twice_writes_once_and_heals_damage(path: Path) -> None:
    file = write_model_file(path, FAMILY, CONFIG, tensors())
    target = store_model(file)
    before = target.stat().st_mtime_ns
    store_model(file)
    assert target.stat().st_mtime_ns == before
    target.write_bytes(target.read_bytes()[:-1])
    with pytest.raises(DataError):
        stored_model(file.id)
    store_model(file)
    assert stored_model(file.id) is not None


def test_a_stored_file_under_a_wrong_id_is_refused(path: Path, store: Path) -> None:
    file = write_model_file(path, FAMILY, CONFIG, tensors())
    store_model(file).rename(store / f"{'0' * 64}.safetensors")
    with pytest.raises(DataError, match="holds another model"):
        stored_model("0" * 64)


@pytest.mark.parametrize("hostile", ["../secret", "/etc/passwd", "", "A" * 64, "0" * 63])
def test_an_id_that_is_none_opens_nothing(hostile: str) -> None:
    assert stored_model(hostile) is None


# Models by name, path and id

PACKAGE = """
from raw_model import RawModel

def load(file):
    model = RawModel()
    model.name, model.id = file.name, file.id
    model.weights = file.tensors()
    return model
"""


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PluginManager]:
    """A family ``toy`` in a package of its own, with a pretrained model in its resources."""
    package = tmp_path / "site" / "toy_family"
    (package / "pretrained").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "model.py").write_text(PACKAGE)
    shipped = write_model_file(
        package / "pretrained" / "x.safetensors", FAMILY, {"n": 1}, tensors(), name="inner"
    )
    monkeypatch.syspath_prepend(tmp_path / "site")
    good = Pretrained("toy-good", "a model", shipped.id, "pretrained/x.safetensors")
    swapped = Pretrained("toy-swapped", "a model", "0" * 64, "pretrained/x.safetensors")
    missing = Pretrained("toy-missing", "a model", "1" * 64, "pretrained/y.safetensors")
    light = Pretrained("toy-light", "without weights", "2" * 64)

    @hookimpl
    def nc_models() -> list[ModelSpec]:
        return [
            ModelSpec(
                name=FAMILY,
                summary="a family",
                target="toy_family.model:load",
                pretrained=(good, swapped, missing, light),
            )
        ]

    class Module:
        pass

    Module.nc_models = staticmethod(nc_models)  # type: ignore[attr-defined]
    manager = PluginManager()
    manager.discover({"NC_PLUGINS": ""})
    manager.register(Module, distribution="nc-toy")
    yield manager


def test_a_pretrained_model_is_opened_from_its_package(plugins: PluginManager) -> None:
    model: Any = load_model("toy-good", plugins)
    assert model.name == "toy-good"
    assert (model.weights["b"] == tensors()["b"]).all()
    assert load_model("toy-good@nc-toy", plugins).id == model.id


def test_a_pretrained_file_that_is_another_is_refused(plugins: PluginManager) -> None:
    with pytest.raises(DataError, match="'toy-swapped' of package toy_family is not the one"):
        load_model("toy-swapped", plugins)
    with pytest.raises(DataError, match="no such file"):
        load_model("toy-missing", plugins)


def test_a_model_without_weights_has_its_registered_id(plugins: PluginManager) -> None:
    assert load_model("toy-light", plugins).id == "2" * 64
    assert load_model("predictive", plugins).id == PREDICTIVE_ID
    assert load(ModelFile.without_weights("p", "predictive", PREDICTIVE_ID)).name == "p"


def test_a_model_is_loaded_from_its_file_or_run_directory(
    plugins: PluginManager, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    file = write_model_file(run / "model.safetensors", FAMILY, CONFIG, tensors(), name="mine")
    for name in (str(run), run, str(run / "model.safetensors")):
        model = load_model(name, plugins)
        assert (model.name, model.id) == ("mine", file.id)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no model.safetensors"):
        load_model(tmp_path / "empty", plugins)


def test_what_looks_like_a_path_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert not is_model_path("toy-good")
    assert not is_model_path("toy-good@nc-toy")
    (tmp_path / "toy-good").mkdir()
    for name in ("toy-good", "runs/toy", "toy.safetensors", Path("toy")):
        assert is_model_path(name)


def test_a_file_of_a_family_that_is_not_installed_says_so(
    plugins: PluginManager, path: Path
) -> None:
    write_model_file(path, "toi", CONFIG, tensors())
    with pytest.raises(PluginError, match=r"needs model family 'toi': .*did you mean 'toy'"):
        load_model(path, plugins)


def test_a_file_is_described_without_loading_its_model(plugins: PluginManager, path: Path) -> None:
    write_model_file(path, FAMILY, CONFIG, tensors())
    family, file = find_model_file(path, plugins)
    assert (family.name, file.config) == (FAMILY, CONFIG)


def test_what_a_kept_model_compressed_decodes_by_id(plugins: PluginManager, path: Path) -> None:
    write_model_file(path, FAMILY, CONFIG, tensors())
    image = np.arange(64, dtype=np.uint8).reshape(8, 8)
    load_model(path, plugins, keep=True)
    packed = nc_core.compress(image, model=str(path), plugins=plugins)
    path.unlink()
    decoded = nc_core.decompress(packed.data, plugins=plugins)
    assert isinstance(decoded, np.ndarray)
    assert (decoded == image).all()


def test_a_model_that_is_nowhere_is_an_error_of_the_container(plugins: PluginManager) -> None:
    with pytest.raises(CorruptFileError, match="made with model 'x'") as caught:
        model_by_id("9" * 64, "x", "a.ncz", plugins)
    assert caught.value.exit_code == ExitCode.CORRUPT
    assert "--model" in str(caught.value.hint)
    assert model_by_id("2" * 64, "x", "a.ncz", plugins).name == "toy-light"
