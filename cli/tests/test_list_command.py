"""``nc list``: what is installed, for people and for programs."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from nc_cli.app import root
from nc_cli.session import Session
from nc_core.errors import ExitCode
from nc_core.hookspecs import hookimpl
from nc_core.plugins import PluginManager
from nc_core.specs import (
    CoderSpec,
    CommandSpec,
    DatasetSpec,
    EvaluatorSpec,
    Metric,
    ModelSpec,
    Pretrained,
    Reference,
    RemoteFile,
)

KINDS = ("datasets", "models", "coders", "evaluators", "papers", "recipes")


class Provides:
    """A plugin with one record of every kind."""

    @hookimpl
    def nc_datasets(self) -> list[DatasetSpec]:
        return [
            DatasetSpec(
                name="cats",
                summary="pictures of cats",
                target="nowhere:open",
                splits=("train", "test"),
                options={"size": "edge in pixels; default 64"},
                licence="CC0",
                files=(RemoteFile("cats.zip", "https://x/cats.zip", "0" * 64, 2_500_000),),
            )
        ]

    @hookimpl
    def nc_models(self) -> list[ModelSpec]:
        member = Pretrained("vae-cats", "trained on cats", "ab" * 32)
        return [
            ModelSpec(
                name="vae",
                summary="a hierarchy of latents",
                target="nowhere:load",
                abilities=("lossless-model",),
                pretrained=(member,),
            )
        ]

    @hookimpl
    def nc_coders(self) -> list[CoderSpec]:
        return [CoderSpec(name="slow", summary="a coder", target="nowhere:Slow", max_precision=20)]

    @hookimpl
    def nc_evaluators(self) -> list[EvaluatorSpec]:
        return [
            EvaluatorSpec(
                name="gap",
                summary="distance from the bound",
                target="nowhere:evaluate",
                needs=("lossless-model",),
                metrics=(Metric("gap_percent", "%"),),
            )
        ]

    @hookimpl
    def nc_commands(self) -> list[CommandSpec]:
        paper = Reference("A. Author", "A title", "2401.00001")
        return [
            CommandSpec(
                name="vae",
                summary="The paper.",
                target="nowhere:command",
                reference=paper,
                recipes=("vae-small", "vae-large"),
            )
        ]


@pytest.fixture
def plugins() -> PluginManager:
    manager = PluginManager()
    manager.register(Provides(), distribution="nc-vae", version="1.2")
    return manager


def test_everything_is_listed_in_sections(nc) -> None:
    outcome = nc("list")
    assert outcome.exit_code == ExitCode.DONE
    assert outcome.stderr == ""
    assert outcome.stdout == (
        "Datasets\n"
        "  cats        pictures of cats\n"
        "\n"
        "Models\n"
        "  vae         a hierarchy of latents\n"
        "    vae-cats  trained on cats\n"
        "\n"
        "Coders\n"
        "  slow        a coder\n"
        "\n"
        "Evaluators\n"
        "  gap         distance from the bound\n"
        "\n"
        "Papers\n"
        "  vae         The paper.\n"
        "\n"
        "Recipes\n"
        "  vae-small   The paper.\n"
        "  vae-large   The paper.\n"
    )


def test_recipes_are_listed_one_by_one_with_their_paper(nc) -> None:
    lines = nc("list", "recipes").stdout.splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["name", "paper", "from"],
        ["vae-small", "vae", "nc-vae"],
        ["vae-large", "vae", "nc-vae"],
    ]
    documents = nc("list", "recipes", "--json").json()["recipes"]
    assert [(d["name"], d["paper"]) for d in documents] == [
        ("vae-small", "vae"),
        ("vae-large", "vae"),
    ]


def test_a_wrong_kind_is_named_without_the_brackets_of_the_usage_line(nc) -> None:
    outcome = nc("list", "things")
    assert outcome.exit_code == ExitCode.USAGE
    assert "invalid value for KIND" in outcome.stderr


@pytest.mark.parametrize(
    ("kind", "table"),
    [
        (
            "datasets",
            "name  splits       download  from    summary\n"
            "cats  train, test  2.5 MB    nc-vae  pictures of cats\n",
        ),
        (
            "models",
            "name        abilities       from    summary\n"
            "vae         lossless-model  nc-vae  a hierarchy of latents\n"
            "  vae-cats                          trained on cats\n",
        ),
        (
            "coders",
            "name  words       bits  from    summary\nslow  rans-64-32    20  nc-vae  a coder\n",
        ),
        (
            "evaluators",
            "name           needs           unit  from    summary\n"
            "gap            lossless-model        nc-vae  distance from the bound\n"
            "  gap_percent                  %\n",
        ),
        (
            "papers",
            "name  arXiv       from    summary\nvae   2401.00001  nc-vae  The paper.\n",
        ),
    ],
)
def test_one_kind_is_listed_with_its_columns(nc, kind: str, table: str) -> None:
    assert nc("list", kind).stdout == table


def test_json_has_every_kind_and_field(nc) -> None:
    document = nc("list", "--json").json()
    assert document.pop("schema") == "nc.list/1"
    assert set(document) == set(KINDS)
    common = {"name", "summary", "provider", "version", "reference"}
    own = {
        "datasets": {"splits", "takes_path", "options", "licence", "download_bytes"},
        "models": {"abilities", "pretrained"},
        "coders": {"words", "max_precision_bits"},
        "evaluators": {"needs", "metrics"},
        "papers": {"recipes"},
        "recipes": {"paper"},
    }
    for kind, [record, *_] in document.items():
        assert set(record) == common | own[kind]
        assert (record["provider"], record["version"]) == ("nc-vae", "1.2")
    assert document["models"][0]["pretrained"] == [
        {"name": "vae-cats", "summary": "trained on cats", "id": "ab" * 32}
    ]
    assert document["evaluators"][0]["metrics"] == [{"name": "gap_percent", "unit": "%"}]
    assert document["papers"][0]["reference"]["arxiv"] == "2401.00001"
    assert document["datasets"][0]["download_bytes"] == 2_500_000


@pytest.mark.parametrize("kind", KINDS)
def test_json_of_one_kind_has_only_that(nc, kind: str) -> None:
    assert set(nc("list", kind, "--json").json()) == {"schema", kind}


def test_a_kind_that_nothing_provides_is_said_to_be_empty() -> None:
    def listed(*arguments: str) -> str:
        session = Session(PluginManager())
        return CliRunner().invoke(root, ["list", *arguments], obj=session).stdout

    assert listed("coders") == "none installed\n"
    assert listed("papers") == "none installed; for example: pip install nc-bitswap\n"
    assert json.loads(listed("papers", "--json"))["papers"] == []


def test_broken_plugins_are_mentioned_on_standard_error_only(nc, plugins: PluginManager) -> None:
    plugins.register(SimpleNamespace(nc_coder=lambda: []), distribution="nc-typo")
    outcome = nc("list", "--json")
    assert outcome.exit_code == ExitCode.DONE
    assert outcome.json()["schema"] == "nc.list/1"
    assert outcome.stderr == "nc: warning: broken: nc-typo; see 'nc plugin list --broken'\n"


def test_an_unknown_kind_is_a_usage_error_that_names_the_kinds(nc) -> None:
    outcome = nc("list", "codecs")
    assert outcome.exit_code == ExitCode.USAGE
    assert "'evaluators'" in outcome.stderr
