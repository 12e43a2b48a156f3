"""Discovery: each plugin on its own, and every failure a row of a list."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pluggy
import pytest

from nc_core.errors import ExitCode, MissingDependencyError, PluginError
from nc_core.hookspecs import hookimpl
from nc_core.plugins import HOOKS, BrokenPlugin, Plugin, PluginManager
from nc_core.specs import (
    CoderSpec,
    CommandSpec,
    DatasetSpec,
    EvaluatorSpec,
    Metric,
    ModelSpec,
    Pretrained,
    Provider,
    Reference,
    RemoteFile,
    Requirement,
)
from nc_core.testing.distributions import write_distribution

HEADER = """
from nc_core.hookspecs import hookimpl
from nc_core.specs import CoderSpec, CommandSpec, DatasetSpec, ModelSpec, Pretrained
"""
CODER = (
    HEADER
    + """
@hookimpl
def nc_coders():
    return [CoderSpec(name="{name}", summary="a coder", target="nowhere:Coder")]
"""
)

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """A function that installs a distribution with one plugin module, named after it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def write(name: str, source: str, point: str | None = None, version: str = "1.0") -> Path:
        module = f"{name.replace('-', '_')}_plugin"
        points = {point or name: module}
        return write_distribution(tmp_path, name, {module: source}, points, version)

    yield write
    for module in set(sys.modules) - before:
        if module.endswith("_plugin"):
            del sys.modules[module]


def discovered(**environment: str) -> PluginManager:
    manager = PluginManager()
    manager.discover(environment)
    return manager


def registered(**hooks: Callable[[], Any]) -> PluginManager:
    manager = PluginManager()
    manager.register(SimpleNamespace(**hooks), distribution="nc-test", version="2")
    return manager


def reasons(manager: PluginManager, distribution: str) -> list[str]:
    return [row.reason for row in manager.broken if row.distribution == distribution]


def coders(manager: PluginManager) -> set[str]:
    return {spec.name for spec in manager.specs(CoderSpec)}


# What is found


def test_core_provides_its_own_records_through_the_hooks() -> None:
    manager = discovered(NC_PLUGINS="")
    assert "rans" in coders(manager)
    assert manager.broken == ()
    assert all(
        spec.provider is not None and spec.provider.distribution == "nc-core"
        for kind in HOOKS.values()
        for spec in manager.specs(kind)
    )


def test_an_installed_plugin_is_found_with_its_distribution_and_version(install: Install) -> None:
    install("nc-alpha", CODER.format(name="alpha"), version="3.1")
    manager = discovered()
    assert Plugin("nc-alpha", "nc-alpha", "3.1") in manager.plugins
    assert manager.find(CoderSpec, "alpha").provider == Provider("nc-alpha", "3.1")


def test_a_manager_without_discovery_is_empty() -> None:
    manager = PluginManager()
    assert manager.plugins == ()
    assert all(manager.specs(kind) == () for kind in HOOKS.values())


def test_records_are_sorted_by_name_and_provider() -> None:
    manager = PluginManager()
    for distribution, names in (("nc-z", ["b", "a"]), ("nc-y", ["b"])):
        module = SimpleNamespace(nc_coders=coder_hook(*names))
        manager.register(module, distribution=distribution)
    assert [(s.name, s.provider and s.provider.distribution) for s in manager.specs(CoderSpec)] == [
        ("a", "nc-z"),
        ("b", "nc-y"),
        ("b", "nc-z"),
    ]


def test_a_hook_may_be_a_generator() -> None:
    @hookimpl
    def nc_coders() -> Iterator[CoderSpec]:
        yield coder("one")
        yield coder("two")

    assert coders(registered(nc_coders=nc_coders)) == {"one", "two"}


def test_every_hook_has_its_kind_of_record() -> None:
    kinds = {DatasetSpec, ModelSpec, CoderSpec, EvaluatorSpec, CommandSpec}
    assert set(HOOKS.values()) == kinds
    import nc_core.hookspecs as module

    assert {name for name in dir(module) if name.startswith("nc_")} == set(HOOKS)


def test_two_entry_points_of_one_name_both_load(install: Install) -> None:
    # pluggy's own loader drops the second one without a word.
    install("nc-first", CODER.format(name="first"), point="same")
    install("nc-second", CODER.format(name="second"), point="same")
    assert {"first", "second"} <= coders(discovered())


def test_a_second_copy_of_a_distribution_on_the_path_is_ignored(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("nc-twice", CODER.format(name="twice"), version="2.0")
    later = tmp_path / "later"
    write_distribution(later, "nc_twice", {}, {"old": "nowhere"}, version="1.0")
    monkeypatch.setattr(sys, "path", [*sys.path, str(later)])
    manager = discovered()
    assert [p.version for p in manager.plugins if p.distribution == "nc-twice"] == ["2.0"]
    assert reasons(manager, "nc-twice") == []


def test_names_of_distributions_are_spelt_as_package_indexes_do(install: Install) -> None:
    install("NC_Beta_Plus", CODER.format(name="beta"))
    assert discovered().find(CoderSpec, "beta@nc-beta-plus").name == "beta"


def test_records_of_one_plugin_can_be_asked_for(install: Install) -> None:
    install("nc-alpha", CODER.format(name="alpha"))
    manager = discovered()
    provided = manager.provided_by(Plugin("nc-alpha", "nc-alpha", "1.0"))
    assert [spec.name for spec in provided] == ["alpha"]


# What is broken


def test_pluggys_own_loader_stops_at_the_first_import_error(install: Install) -> None:
    # The behaviour that makes a loader of our own necessary.
    install("nc-bad", "raise RuntimeError('no such device')")
    with pytest.raises(RuntimeError, match="no such device"):
        pluggy.PluginManager("nc").load_setuptools_entrypoints("nc")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise RuntimeError('no such device')", "RuntimeError: no such device"),
        ("import a_module_that_is_not_there", "ModuleNotFoundError: No module named"),
        ("def broken(:", "SyntaxError"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("raise ValueError('first line\\nsecond line')", "ValueError: first line"),
        ("assert False", "AssertionError"),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_a_row(
    install: Install, source: str, reason: str
) -> None:
    install("nc-bad", source)
    install("nc-good", CODER.format(name="good"))
    manager = discovered()
    [row] = [row for row in manager.broken if row.distribution == "nc-bad"]
    assert row.reason.startswith(f"cannot be loaded: {reason}")
    assert "\n" not in row.reason
    assert (row.name, row.version, row.hook) == ("nc-bad", "1.0", None)
    assert "Traceback" in row.traceback
    assert Plugin("nc-bad", "nc-bad", "1.0") in manager.plugins
    assert "good" in coders(manager)


def test_an_interruption_while_plugins_load_is_not_swallowed(install: Install) -> None:
    install("nc-slow", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        discovered()


def test_an_entry_point_without_its_attribute_is_a_row(install: Install, tmp_path: Path) -> None:
    write_distribution(tmp_path, "nc-gone", {"gone_plugin": ""}, {"gone": "gone_plugin:missing"})
    assert "AttributeError" in reasons(discovered(), "nc-gone")[0]


@pytest.mark.parametrize("damage", ["metadata", "entry points", "encoding"])
def test_damaged_metadata_of_one_distribution_is_a_row(
    install: Install, tmp_path: Path, damage: str
) -> None:
    folder = install("nc-damaged", CODER.format(name="damaged"))
    if damage == "metadata":
        (folder / "METADATA").unlink()
    elif damage == "entry points":
        (folder / "entry_points.txt").write_text("[nc]\nno equals sign\n")
    else:
        (folder / "METADATA").write_bytes(b"Name: \xff\xfe\n")
    install("nc-good", CODER.format(name="good"))
    manager = discovered()
    assert "good" in coders(manager)
    assert len(manager.broken) == 1


def test_a_misspelt_hook_gets_a_suggestion_and_the_rest_of_its_plugin_works(
    install: Install,
) -> None:
    # pluggy ignores what it does not know.
    source = CODER.format(name="good") + "\n@hookimpl\ndef nc_modles():\n    return []\n"
    install("nc-typo", source)
    manager = discovered()
    assert reasons(manager, "nc-typo") == [
        "implements an unknown hook nc_modles; did you mean 'nc_models'?"
    ]
    assert "good" in coders(manager)


def test_a_function_that_looks_like_a_hook_but_is_none_is_a_row() -> None:
    manager = registered(nc_coder=lambda: [])
    assert reasons(manager, "nc-test") == ["nc_coder is not a hook; did you mean 'nc_coders'?"]


def test_a_hook_without_its_marker_is_a_row() -> None:
    manager = registered(nc_models=lambda: [])
    assert reasons(manager, "nc-test") == ["nc_models is not marked with @hookimpl"]


def test_a_module_whose_name_begins_like_a_hook_is_none(install: Install) -> None:
    install("nc-alpha", "import nc_core\n" + CODER.format(name="alpha"))
    assert reasons(discovered(), "nc-alpha") == []


def test_a_hook_under_another_name_may_say_which_it_is() -> None:
    @hookimpl(specname="nc_coders")
    def mine() -> list[CoderSpec]:
        return [coder("mine")]

    assert coders(registered(mine=mine)) == {"mine"}


def test_a_hook_with_an_argument_is_a_row() -> None:
    @hookimpl
    def nc_coders(manager: object) -> list[CoderSpec]:
        return []

    [reason] = reasons(registered(nc_coders=nc_coders), "nc-test")
    assert reason.startswith("cannot be loaded: PluginValidationError")


def test_a_hook_that_raises_keeps_what_it_gave_and_stops_nobody() -> None:
    # One raising implementation aborts a plain call through pluggy.
    @hookimpl
    def nc_coders() -> Iterator[CoderSpec]:
        yield coder("before")
        raise OSError("disk on fire")

    @hookimpl
    def nc_datasets() -> list[DatasetSpec]:
        return [DatasetSpec(name="data", summary="data", target="nowhere:open")]

    manager = registered(nc_coders=nc_coders, nc_datasets=nc_datasets)
    [row] = manager.broken
    assert (row.reason, row.hook) == ("nc_coders failed: OSError: disk on fire", "nc_coders")
    assert "disk on fire" in row.traceback
    assert coders(manager) == {"before"}
    assert manager.find(DatasetSpec, "data").name == "data"


@pytest.mark.parametrize("returned", [None, 7, object()])
def test_a_hook_that_returns_no_iterable_is_a_row(returned: object) -> None:
    @hookimpl
    def nc_coders() -> object:
        return returned

    [reason] = reasons(registered(nc_coders=nc_coders), "nc-test")
    assert reason.startswith("nc_coders failed: TypeError")


def test_a_record_of_another_kind_is_a_row_and_the_others_stay() -> None:
    @hookimpl
    def nc_coders() -> list[object]:
        return ["rans", coder("good"), DatasetSpec(name="d", summary="d", target="nowhere:open")]

    manager = registered(nc_coders=nc_coders)
    assert reasons(manager, "nc-test") == [
        "nc_coders: returned str, not CoderSpec",
        "nc_coders: returned DatasetSpec, not CoderSpec",
    ]
    assert coders(manager) == {"good"}


def test_an_invalid_record_is_a_row() -> None:
    @hookimpl
    def nc_coders() -> list[CoderSpec]:
        return [CoderSpec(name="Not Kebab", summary="a coder", target="nowhere:Coder")]

    assert "is not kebab-case" in reasons(registered(nc_coders=nc_coders), "nc-test")[0]


def test_a_string_where_a_tuple_belongs_is_a_row() -> None:
    @hookimpl
    def nc_models() -> list[ModelSpec]:
        return [family("vae", abilities="lossless-model")]  # type: ignore[arg-type]

    [reason] = reasons(registered(nc_models=nc_models), "nc-test")
    assert reason == "nc_models failed: TypeError: abilities of 'vae' must be a tuple"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("splits", (1,)),
        ("files", ("x",)),
        ("reference", "a text"),
        ("options", None),
        ("options", {"seed": 1}),
        ("requires", ("torch",)),
        ("licence", None),
        ("summary", "turns the terminal \x1b[31mred"),
        ("summary", "two\nlines"),
        ("target", 3),
        ("name", None),
    ],
)
def test_a_field_of_another_type_is_refused_where_it_is_written(field: str, value: object) -> None:
    fields = {"name": "digits", "summary": "digits", "target": "nowhere:open"} | {field: value}
    with pytest.raises((TypeError, ValueError), match=field.removesuffix("s")):
        DatasetSpec(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Metric("rate", 3),  # type: ignore[arg-type]
        lambda: Requirement("torch", ""),
        lambda: Reference("A. Author", None),  # type: ignore[arg-type]
        lambda: RemoteFile("x", "https://x", "0" * 64, "12"),  # type: ignore[arg-type]
        lambda: Pretrained("x", "a\x07bell", "0" * 64),
    ],
)
def test_the_parts_of_a_record_are_checked_too(make: Callable[[], object]) -> None:
    with pytest.raises((TypeError, ValueError)):
        make()


def test_two_records_of_one_name_in_one_distribution_are_a_row() -> None:
    manager = registered(nc_coders=coder_hook("same", "same"))
    assert reasons(manager, "nc-test") == ["nc_coders: two records are named 'same'"]
    assert len(manager.specs(CoderSpec)) == 1


def test_two_pretrained_models_of_one_name_in_one_distribution_are_a_row() -> None:
    member = Pretrained("same", "a model", "0" * 64)

    @hookimpl
    def nc_models() -> list[ModelSpec]:
        return [family("one", pretrained=(member,)), family("two", pretrained=(member,))]

    manager = registered(nc_models=nc_models)
    assert reasons(manager, "nc-test") == ["nc_models: two pretrained models are named 'same'"]
    assert manager.find_pretrained("same")[0].name == "one"


def test_one_module_under_two_names_is_a_row() -> None:
    module = SimpleNamespace(nc_coders=coder_hook("once"))
    manager = PluginManager()
    manager.register(module, distribution="nc-a")
    manager.register(module, distribution="nc-b")
    assert "already registered" in reasons(manager, "nc-b")[0]
    assert manager.find(CoderSpec, "once").provider == Provider("nc-a", "0")


# What the environment says


def test_the_allow_list_loads_no_others_besides_core(install: Install) -> None:
    install("nc-alpha", CODER.format(name="alpha"))
    install("nc-beta", CODER.format(name="beta"), point="b")
    manager = discovered(NC_PLUGINS="nc_alpha")
    assert {"alpha", "rans"} <= coders(manager)
    assert "beta" not in coders(manager)
    assert Plugin("b", "nc-beta", "1.0", disabled=True) in manager.plugins


def test_the_allow_list_takes_names_of_entry_points(install: Install) -> None:
    install("nc-alpha", CODER.format(name="alpha"), point="short")
    assert "alpha" in coders(discovered(NC_PLUGINS=" short , "))


def test_a_name_in_the_allow_list_that_is_not_installed_is_a_row() -> None:
    manager = discovered(NC_PLUGINS="nc-nowhere, nc-core")
    assert manager.broken == (
        BrokenPlugin("nc-nowhere", "nc-nowhere", "", "named in NC_PLUGINS, but not installed"),
    )


def test_a_disabled_plugin_is_listed_but_not_imported(install: Install) -> None:
    install("nc-bad", "raise RuntimeError('imported')")
    manager = discovered(NC_DISABLE_PLUGINS="nc-bad")
    assert Plugin("nc-bad", "nc-bad", "1.0", disabled=True) in manager.plugins
    assert manager.broken == ()


# How names are found


def test_two_providers_of_a_name_disturb_only_those_who_use_it() -> None:
    manager = PluginManager()
    manager.register(SimpleNamespace(nc_coders=coder_hook("same", "a")), distribution="nc-a")
    manager.register(SimpleNamespace(nc_coders=coder_hook("same")), distribution="nc-b")
    assert manager.broken == ()
    assert manager.find(CoderSpec, "a").name == "a"
    with pytest.raises(PluginError, match="provided by nc-a and nc-b") as caught:
        manager.find(CoderSpec, "same")
    assert caught.value.hint == "write same@nc-a or same@nc-b"
    assert manager.find(CoderSpec, "same@nc-b").provider == Provider("nc-b", "0")


def test_an_unknown_name_gets_near_matches() -> None:
    with pytest.raises(PluginError, match="no coder 'rasn'; did you mean 'rans'") as caught:
        registered(nc_coders=coder_hook("rans")).find(CoderSpec, "rasn")
    assert caught.value.hint is None


def test_an_unknown_name_mentions_broken_plugins_that_may_provide_it(install: Install) -> None:
    install("nc-bad", "raise RuntimeError")
    with pytest.raises(PluginError) as caught:
        discovered().find(CoderSpec, "bad")
    assert caught.value.hint is not None
    assert "nc-bad" in caught.value.hint
    assert "nc plugin list --broken" in caught.value.hint


def test_a_hook_that_fails_is_not_blamed_for_names_of_another_kind() -> None:
    @hookimpl
    def nc_coders() -> list[CoderSpec]:
        raise OSError

    manager = registered(nc_coders=nc_coders)
    with pytest.raises(PluginError) as caught:
        manager.find(DatasetSpec, "data")
    assert caught.value.hint == "'nc list datasets' shows what is installed"


def test_an_unknown_name_mentions_disabled_plugins(install: Install) -> None:
    install("nc-alpha", CODER.format(name="alpha"))
    with pytest.raises(PluginError) as caught:
        discovered(NC_DISABLE_PLUGINS="nc-alpha").find(CoderSpec, "alpha")
    assert caught.value.hint == "a disabled plugin may provide it: nc-alpha"


def test_a_pretrained_model_is_found_with_its_family() -> None:
    member = Pretrained("vae-small", "a model", "0" * 64)

    @hookimpl
    def nc_models() -> list[ModelSpec]:
        return [family("vae", pretrained=(member,))]

    manager = registered(nc_models=nc_models)
    found_family, found = manager.find_pretrained("vae-small@nc-test")
    assert (found_family.name, found) == ("vae", member)
    with pytest.raises(PluginError, match="no model 'vae-smal'; did you mean 'vae-small'"):
        manager.find_pretrained("vae-smal")


# How targets load


def test_a_missing_requirement_is_one_sentence_with_the_pip_line() -> None:
    spec = CoderSpec(
        name="gpu",
        summary="a coder",
        target="nowhere:Coder",
        requires=(Requirement("a_module_that_is_not_there", "nc-gpu[cuda]"),),
    )
    with pytest.raises(MissingDependencyError, match="coder 'gpu' needs") as caught:
        spec.load()
    assert caught.value.hint == "pip install nc-gpu[cuda]"
    assert caught.value.exit_code == ExitCode.PLUGIN


@pytest.mark.parametrize(
    "source", ["raise RuntimeError('no device')", "def broken(:", "", "raise SystemExit"]
)
def test_a_target_that_cannot_be_imported_is_a_plugin_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    (tmp_path / "broken_target.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = CoderSpec(name="bad", summary="a coder", target="broken_target:Coder")
    with pytest.raises(PluginError, match="coder 'bad' cannot be loaded: "):
        spec.load()
    sys.modules.pop("broken_target", None)


def coder(name: str) -> CoderSpec:
    return CoderSpec(name=name, summary="a coder", target="nowhere:Coder")


def coder_hook(*names: str) -> Callable[[], list[CoderSpec]]:
    @hookimpl
    def nc_coders() -> list[CoderSpec]:
        return [coder(name) for name in names]

    return nc_coders


def family(
    name: str, abilities: tuple[str, ...] = (), pretrained: tuple[Pretrained, ...] = ()
) -> ModelSpec:
    return ModelSpec(
        name=name,
        summary="a family",
        target="nowhere:load",
        abilities=abilities,
        pretrained=pretrained,
    )
