"""Foreign checkpoints: read without running their code, and compared in words."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="checkpoints are PyTorch's")

from safetensors.torch import save_file  # noqa: E402

from nc_core.errors import DataError  # noqa: E402
from nc_core.importing import differences, few, load_pickle, read_state_dict  # noqa: E402

WEIGHTS = {"b.weight": torch.arange(6.0).reshape(2, 3), "a": torch.tensor([1.5])}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["x.pt", "x", "x.safetensors"])
def test_tensors_are_read_in_float32(tmp_path: Path, name: str, dtype: torch.dtype) -> None:
    stored = {key: value.to(dtype) for key, value in WEIGHTS.items()}
    path = tmp_path / name
    if name.endswith(".safetensors"):
        save_file(stored, path)
    else:
        torch.save(stored, path)
    read = read_state_dict(path)
    assert sorted(read) == ["a", "b.weight"]
    for key, value in read.items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, WEIGHTS[key])


def test_parameters_come_without_their_history(tmp_path: Path) -> None:
    torch.save({"a": torch.nn.Parameter(torch.ones(2))}, tmp_path / "x.pt")
    assert not read_state_dict(tmp_path / "x.pt")["a"].requires_grad


class Malicious:
    """Would run code if it were unpickled."""

    def __reduce__(self) -> Any:
        return (pytest.fail, ("code of a pickle ran",))


@pytest.mark.parametrize("content", [b"", b"text", pickle.dumps(Malicious())])
def test_other_files_are_refused_and_run_no_code(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.pt: not a checkpoint that can be read safely"):
        load_pickle(tmp_path / "x.pt")
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.safetensors: not a whole safetensors file"):
        read_state_dict(tmp_path / "x.safetensors")


@pytest.mark.parametrize("name", ["malicious_pickle.pt", "malicious_zip.pt"])
def test_hostile_files_are_refused(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="read safely"):
        read_state_dict(shared / "data" / "broken" / name)
    assert not list(tmp_path.rglob("PWNED"))


@pytest.mark.parametrize("content", [[1, 2], {"state": {}}, torch.ones(2)])
def test_what_is_no_state_dict_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(DataError, match="not a state_dict"):
        read_state_dict(tmp_path / "x.pt")


@pytest.mark.parametrize("name", ["x.pt", "x.safetensors"])
def test_missing_files_are_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=f"{name}: no such file"):
        read_state_dict(tmp_path / name)


def test_differences_are_said_in_one_line() -> None:
    expected = {"a": (2,), "b": (1,)}
    assert differences(expected, dict(expected)) == ""
    assert differences(expected, {"a": (2,)}) == "lacks 'b'"
    assert differences(expected, expected | {"c": ()}) == "has an unknown 'c'"
    found = {"a": (3,), "b": (1,)}
    assert differences(expected, found) == "'a' has the shape (3,), not (2,)"


def test_only_a_few_are_named() -> None:
    assert few(["a", "b", "c"]) == "a, b, c"
    assert few(["a", "b", "c", "d", "e"], "; ") == "a; b; c; and 2 more"
    assert few([]) == ""
