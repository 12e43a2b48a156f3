"""Choosing by name among what several distributions offer."""

from __future__ import annotations

import pytest

from nc_core.errors import ExitCode, PluginError
from nc_core.lookup import Offer, choose, did_you_mean

OFFERS = [
    Offer("rans", "nc-core", 1),
    Offer("range", "nc-a", 2),
    Offer("range", "nc-b", 3),
]


def test_a_name_that_one_distribution_offers_is_found() -> None:
    assert choose("coder", "rans", OFFERS) == 1


def test_a_provider_may_be_named_where_it_is_not_needed() -> None:
    assert choose("coder", "rans@nc-core", OFFERS) == 1


def test_a_provider_resolves_a_name_that_two_distributions_offer() -> None:
    assert choose("coder", "range@nc-b", OFFERS) == 3


def test_a_name_that_two_distributions_offer_is_refused_with_both_spellings() -> None:
    with pytest.raises(PluginError, match="provided by nc-a and nc-b") as caught:
        choose("coder", "range", OFFERS)
    assert caught.value.hint == "write range@nc-a or range@nc-b"
    assert caught.value.exit_code == ExitCode.PLUGIN


def test_a_provider_without_the_name_is_refused_with_those_that_have_it() -> None:
    with pytest.raises(PluginError, match="nc-c provides no coder 'rans'") as caught:
        choose("coder", "rans@nc-c", OFFERS)
    assert caught.value.hint == "write rans@nc-core"


def test_an_unknown_name_is_refused_with_near_matches_and_the_hint() -> None:
    with pytest.raises(
        PluginError, match="no coder 'ranse'; did you mean 'rans' or 'range'"
    ) as caught:
        choose("coder", "ranse", OFFERS, "look elsewhere")
    assert caught.value.hint == "look elsewhere"


def test_a_name_without_likeness_gets_no_suggestion() -> None:
    assert did_you_mean("zzz", ["rans"]) == ""
    with pytest.raises(PluginError, match="no coder 'zzz'") as caught:
        choose("coder", "zzz", OFFERS)
    assert caught.value.message == "no coder 'zzz'"


def test_without_a_near_match_or_a_hint_the_listing_helps() -> None:
    with pytest.raises(PluginError) as caught:
        choose("coder", "zzz", OFFERS, None, "see the list")
    assert caught.value.hint == "see the list"
    with pytest.raises(PluginError) as caught:
        choose("coder", "ranse", OFFERS, None, "see the list")
    assert caught.value.hint is None
