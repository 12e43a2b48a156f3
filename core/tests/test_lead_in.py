"""First blocks that lend to the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nc_core.ans import Message, Rans
from nc_core.ans.distributions import Uniform
from nc_core.coding import told
from nc_core.errors import WorkError
from nc_core.lead_in import LeadIn
from nc_core.lead_in_items import items_of_lead_ins
from nc_core.lossless import compress_source
from nc_core.models import configured
from nc_core.protocols import Block, Coder
from nc_core.sources import ArraySource
from raw_model import LendingModel, RawModel


def noise(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (count, 1, 16, 16)).astype(np.uint8)


def coded(model: Any, blocks: NDArray[np.uint8]) -> tuple[Message, float]:
    message = Message(model.lanes, model.initial_words, 5)
    return message, model.push(Rans(), message, blocks)


def test_nothing_is_borrowed_from_initial_words() -> None:
    alone, _ = coded(LendingModel(), noise(8))
    led, bits = coded(LeadIn(LendingModel()), noise(8))
    assert alone.initial_words - alone.low_water > 140
    assert led.initial_words == led.low_water == 0
    assert led.bits == pytest.approx(bits, abs=40)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 9])
def test_blocks_come_back_and_the_message_is_as_it_was(count: int) -> None:
    model = LeadIn(LendingModel())
    message, _ = coded(model, noise(count))
    popped = model.pop(Rans(), message, (count, 1, 16, 16), np.dtype(np.uint8))
    assert np.array_equal(popped, noise(count))
    assert message.is_initial()


def test_the_lead_in_is_no_longer_than_need_be() -> None:
    # 4,800 bits are borrowed; a block of noise gives about 2,150.
    model = LeadIn(LendingModel())
    for count in (1, 2):
        with pytest.raises(Exception, match="ran out"):
            message = Message()
            model._predictive.push(Rans(), message, noise(8)[:count])
            LendingModel().push(Rans(), message, noise(8)[count:])
    message, bits = coded(model, noise(8))
    lead = message.copy()
    assert model.pop(Rans(), lead, (8, 1, 16, 16), np.dtype(np.uint8)).shape == (8, 1, 16, 16)
    lead_bits = model._predictive.push(Rans(), Message(), noise(8)[:3])
    assert bits == pytest.approx(lead_bits + 5 * 256 * 8)


class HungryModel(LendingModel):
    """Counts its pushes, of which each needs a message of so many words."""

    pushes = 0
    words = 0

    def push(self, coder: Coder, message: Message, blocks: NDArray[Any]) -> float:
        self.pushes += 1
        if message.size < self.words:
            raise WorkError("too few words to borrow")
        return super().push(coder, message, blocks)


@pytest.mark.parametrize(
    ("blocks", "pushes", "lead"), [(5, 5, 5), (8, 8, 8), (9, 9, 12), (20, 11, 27), (100, 11, 40)]
)
def test_few_attempts_find_a_long_lead_in(blocks: int, pushes: int, lead: int) -> None:
    # A block of noise gives about 67 words, which the search does not know.
    model = HungryModel()
    model.words = 66 * blocks
    led, images = LeadIn(model), noise(40)
    message, _ = coded(led, images)
    assert model.pushes == pushes
    assert led.pop(Rans(), message.copy(), images.shape, np.dtype(np.uint8)).tolist() == (
        images.tolist()
    )
    assert 1 + int(Rans().pop(message, Uniform(40, (1, 1)))[0, 0]) == lead


def test_a_file_tells_how_many_items_only_lead_in(tmp_path: Path) -> None:
    model = LendingModel()
    model.block = Block((1,), None, None, 6 * 256)  # six images in a chunk

    def lead_ins(led: Any, count: int) -> int | None:
        path = tmp_path / "x.ncz"
        compress_source(ArraySource(noise(count)[:, 0], "nhw"), path, led, Rans(), force=True)
        with path.open("rb") as file:
            return items_of_lead_ins(file, "x.ncz", Rans())

    assert lead_ins(model, 2) is None
    assert lead_ins(LeadIn(model), 2) == 2
    assert lead_ins(LeadIn(model), 6) == 3
    assert lead_ins(LeadIn(model), 8) == 3 + 2


def test_the_option_turns_it_on_and_off() -> None:
    model = LendingModel()
    led = told(model, {"lead-in": "predictive"})
    assert isinstance(led, LeadIn) and led.coding == {"lead-in": "predictive"}
    assert told(led, led.coding) is led
    assert told(led, {}) is model
    assert told(model, {"lead-in": "none"}) is model


def test_models_that_ask_for_it_have_it_unless_told_otherwise() -> None:
    model = LendingModel()
    model.leads_in = True  # type: ignore[attr-defined]
    assert isinstance(configured(model, "m"), LeadIn)
    assert configured(model, "m", coding={"lead-in": "none"}) is model


@pytest.mark.parametrize(
    ("model", "value", "why"),
    [
        (LendingModel(), "some", "lead-in is predictive or none"),
        (RawModel(), "predictive", "borrows no bits"),
    ],
)
def test_what_makes_no_sense_is_refused(model: Any, value: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        told(model, {"lead-in": value})


def test_other_options_are_refused_where_the_model_has_none() -> None:
    with pytest.raises(ValueError, match="takes no coding options"):
        told(LendingModel(), {"lead-in": "predictive", "speed": "9"})
