"""Recipes: YAML, inheritance, ``--set``, and errors that name the field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nc_core.errors import DataError, ExitCode, UsageError

pydantic = pytest.importorskip("pydantic", reason="recipes are validated by pydantic")
pytest.importorskip("yaml", reason="recipes are YAML")

from nc_core.config import Config, field_names, load_config, read_recipe, recipe_names  # noqa: E402
from nc_core.recipe_yaml import RecipeYamlError, parse_yaml  # noqa: E402
from nc_core.training.settings import EmaConfig, FitConfig, duration_steps  # noqa: E402


class Network(Config):
    width: int = pydantic.Field(8, ge=1)
    levels: tuple[int, ...] = (1, 2)
    dropout: float = 0.0


class Experiment(Config):
    dataset: str = "mnist:train"
    network: Network = Network()
    training: FitConfig = FitConfig(duration="2 epochs", batch_size=16)


RECIPES = {
    "small": "network:\n  width: 4\ntraining: {duration: 500, batch_size: 8, ema: {decay: 0.99}}\n",
    "smaller": "extends: small\nnetwork:\n  width: 2\n",
    "loop": "extends: loop-2\n",
    "loop-2": "extends: loop\n",
    "list": "- 1\n",
    "torn": "network: {width: 4\n",
    "twice": "network: {width: 1}\nnetwork: {width: 2}\n",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    folder = tmp_path / "recipe_package"
    (folder / "recipes").mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    for name, text in RECIPES.items():
        (folder / "recipes" / f"{name}.yaml").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "recipe_package", raising=False)
    return "recipe_package"


def refusal(*settings: str, recipe: str | None = None, package: str | None = None) -> str:
    """The message of the UsageError that these settings cause."""
    with pytest.raises(UsageError) as caught:
        load_config(Experiment, recipe, package=package, settings=settings)
    assert caught.value.exit_code == ExitCode.USAGE
    assert "\n" not in caught.value.message
    return caught.value.message


def test_without_a_recipe_there_are_the_defaults() -> None:
    assert load_config(Experiment) == Experiment()


def test_a_recipe_is_found_by_name(package: str) -> None:
    config = load_config(Experiment, "small", package=package)
    assert config.network == Network(width=4)
    assert config.training.ema == EmaConfig(decay=0.99)
    assert sorted(RECIPES) == recipe_names(package)


def test_a_package_without_recipes_has_none() -> None:
    assert recipe_names("nc_core") == []


def test_a_recipe_may_extend_another(package: str) -> None:
    config = load_config(Experiment, "smaller", package=package)
    assert (config.network.width, config.training.batch_size) == (2, 8)


def test_a_recipe_may_be_a_file_that_extends_a_shipped_one(package: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("extends: smaller\nnetwork: {levels: [3]}\n")
    config = load_config(Experiment, path, package=package)
    assert config.network == Network(width=2, levels=(3,))


def test_a_configuration_comes_back_from_its_own_json(tmp_path: Path) -> None:
    import json

    config = load_config(Experiment, settings=["network.dropout=1e-05", "training.ema={}"])
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config.to_json()))
    assert load_config(Experiment, path) == config


def test_a_recipe_may_name_some_fields_of_a_group_with_defaults_of_its_own() -> None:
    class Wide(Config):
        network: Network = Network(width=64)

    config = load_config(Wide, settings=["network.dropout=0.5"])
    assert config.network == Network(width=64, dropout=0.5)


def test_a_recipe_that_extends_itself_is_refused(package: str) -> None:
    assert "'loop' extends itself (loop -> loop-2)" in refusal(recipe="loop", package=package)


def test_an_unknown_recipe_has_near_matches(package: str) -> None:
    with pytest.raises(UsageError, match="no recipe 'smal'; did you mean 'small'") as caught:
        load_config(Experiment, "smal", package=package)
    assert "smaller" in str(caught.value.hint)


def test_a_recipe_file_that_is_not_there_is_an_error_of_data(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        load_config(Experiment, tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("list", "not a mapping"),
        ("torn", "line 2"),
        ("twice", "line 2: 'network' is given twice"),
    ],
)
def test_a_malformed_recipe_says_where(package: str, name: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_recipe(name, package)


def test_a_setting_wins_over_the_recipe_and_the_last_over_the_first(package: str) -> None:
    settings = ["network.width=5", "network.width=6", "network.levels=[7, 8]", "dataset=cifar10"]
    config = load_config(Experiment, "small", package=package, settings=settings)
    assert config.network == Network(width=6, levels=(7, 8))
    assert config.dataset == "cifar10"


def test_a_setting_reaches_into_a_group_that_was_absent() -> None:
    config = load_config(Experiment, settings=["training={duration: 9, batch_size: 1}"])
    assert config.training.ema is None
    settings = ["training={duration: 9, batch_size: 1}", "training.ema.form=swapped"]
    assert load_config(Experiment, settings=settings).training.ema == EmaConfig(form="swapped")


def test_an_unknown_setting_has_near_matches() -> None:
    assert refusal("netwrk.width=3") == (
        "configuration: --set netwrk.width=3: unknown setting 'netwrk'; did you mean 'network'?"
    )
    message = refusal("network.widht=3")
    assert "unknown setting 'network.widht'; did you mean 'network.width'" in message
    assert message.startswith("configuration: --set network.widht=3: ")


def test_a_wrong_value_names_its_field_and_where_it_comes_from(package: str) -> None:
    assert refusal("network.width=wide", recipe="small", package=package) == (
        "recipe 'small': --set network.width=wide: network.width: input should be a valid "
        "integer, unable to parse string as an integer (got 'wide')"
    )
    assert "network.width: input should be greater than or equal to 1 (got 0)" in refusal(
        "network.width=0"
    )
    assert "training.ema.form: input should be 'conventional' or 'swapped'" in refusal(
        "training={duration: 1, batch_size: 1, ema: {form: x}}"
    )


def test_a_missing_value_is_named() -> None:
    class Bare(Config):
        training: FitConfig

    with pytest.raises(UsageError, match=r"setting 'training.batch_size' is missing"):
        load_config(Bare, settings=["training.duration=1"])


def test_a_wrong_duration_says_what_one_is() -> None:
    message = refusal("training={duration: soon, batch_size: 1}")
    assert "training.duration: write a number of steps (500) or of epochs" in message


def test_many_faults_are_one_line() -> None:
    message = refusal("a=1", "b=1", "c=1", "d=1", "e=1")
    assert message.endswith("and 2 more")


@pytest.mark.parametrize("setting", ["network", "=1", "a..b=1", ".a=1"])
def test_a_setting_of_another_form_is_refused(setting: str) -> None:
    assert "write it as name=value" in refusal(setting)


def test_a_setting_that_is_no_yaml_is_refused() -> None:
    assert refusal("network.levels=[1").startswith("--set network.levels=[1: ")


def test_configurations_do_not_change() -> None:
    with pytest.raises(pydantic.ValidationError):
        Network().width = 3  # type: ignore[misc]


def test_all_fields_have_dotted_names() -> None:
    names = list(field_names(Experiment))
    assert {"network", "network.width", "training.ema.decay"} <= set(names)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("1.5", 1.5),
        (".5", 0.5),
        ("-3", -3),
        ("0", 0),
        ("0x10", 16),
        ("010", "010"),
        ("12:30", "12:30"),
        ("no", "no"),
        ("true", True),
        ("null", None),
        ("~", None),
        ("", None),
        ("2024-01-02", "2024-01-02"),
        ("mnist:test", "mnist:test"),
        ("1_000", "1_000"),
        ("[1, a]", [1, "a"]),
        (".inf", float("inf")),
    ],
)
def test_scalars_are_read_as_yaml_1_2_reads_them(text: str, value: Any) -> None:
    assert parse_yaml(text) == value
    assert type(parse_yaml(text)) is type(value)


@pytest.mark.parametrize("text", ["!!python/object:os.system {}", "[", "a: b: c", "\0", "{[1]: 2}"])
def test_what_is_no_plain_data_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(RecipeYamlError) as caught:
        parse_yaml(text)
    assert "\n" not in str(caught.value)


def test_durations_are_steps_or_epochs() -> None:
    assert duration_steps(500, 7) == 500
    assert duration_steps("500 steps", 7) == 500
    assert duration_steps("1 step", None) == 1
    assert duration_steps("2 epochs", 7) == 14
    assert duration_steps("0.5 epochs", 7) == 4
    assert duration_steps("0.01 epochs", 7) == 1
    assert duration_steps("1e10 epochs", 7) == 70_000_000_000
    with pytest.raises(ValueError, match="no end and so no epochs"):
        duration_steps("2 epochs", None)
