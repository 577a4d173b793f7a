"""What this node says of its own models: placement, speed, memory and missing parts."""

from pathlib import Path

import pytest

from app.core.kernel.errors import ModelNotFound
from app.core.kernel.generation import Usage
from app.core.models.architectures import architecture_of
from app.core.scheduling.result import NoPlan, Plan
from app.core.swarm.local import HERE, LocalView, shape_of
from app.core.swarm.preview import Previews, Room
from tests.support.engine_library import Entry
from tests.support.gguf_library import library_at
from tests.support.gguf_models import plain_llama

ROOM = Room(memory=1 << 30, context=256, slots=1)


def usage(tokens: int, seconds: float, *, prompt: int = 100, cached: int = 0) -> Usage:
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=tokens,
        cached_tokens=cached,
        prefill_seconds=0.1,
        decode_seconds=seconds,
    )


async def test_a_model_that_is_here_runs_here_and_what_is_missing_is_named(tmp_path: Path) -> None:
    source = plain_llama(tmp_path / "plain-llama.gguf")
    async with library_at(tmp_path / "models") as library:
        entry = await library.import_file(source)
        previews = Previews(view=LocalView(), library=library, loaded=tuple, room=lambda: ROOM)
        whole = previews.of("plain llama")
        assert isinstance(whole.placement, Plan)
        assert (whole.id, whole.placement.kind, whole.placement.measured) == (entry.id, "here", False)
        assert [sight.peer for sight in whole.placement.sights] == [HERE]
        assert whole.fits
        layers = next(shard for shard in entry.shards if shard.kind == "layers")
        await library.remove_shard(entry.id, layers.index)
        part = previews.of(entry.id).placement
        assert isinstance(part, NoPlan)
        assert [(gap.part.first, gap.part.last) for gap in part.gaps] == [(layers.first, layers.last)]
        with pytest.raises(ModelNotFound):
            previews.of("nope")


def test_answers_teach_how_fast_the_next_will_be() -> None:
    view, model = LocalView(), Entry("one", "One", n_layers=4)
    view.measured(model, usage(101, 2.0), choices=1)
    assert view.speeds("one").decode.value == pytest.approx(2.0 / 100 / 4)
    assert view.speeds("one").prefill.value == pytest.approx(0.1 / 100 / 4)
    (peer,) = view.snapshot(model).peers
    assert peer.decode_seconds == pytest.approx(0.005)
    assert view.speeds("two").decode.mass == 0


def test_answers_side_by_side_are_one_clock() -> None:
    view, model = LocalView(), Entry("one", "One", n_layers=4)
    view.measured(model, usage(404, 2.0), choices=4)
    assert view.speeds("one").decode.value == pytest.approx(0.005)


def test_a_placement_is_kept_until_the_files_change() -> None:
    view = LocalView()
    first = view.placement(Entry("one", "One"))
    assert view.placement(Entry("one", "One")) is first
    changed = view.placement(Entry("one", "One", complete=False, held_bytes=0))
    assert isinstance(changed, NoPlan)
    assert changed.reason == "missing"


def test_the_rules_of_an_architecture_become_rules_for_cuts() -> None:
    assert shape_of(Entry("a", "A", n_layers=3)).cuts == (0, 1, 2, 3)
    assert shape_of(Entry("a", "A", whole_only="it says so")).cuts == ()
    deepseek = shape_of(Entry("a", "A", architecture="deepseek2", n_layers=60))
    assert deepseek.forbidden_lengths == architecture_of("deepseek2").forbidden_lengths
    assert shape_of(Entry("a", "A", architecture="smollm3", n_layers=8)).start_multiple == 4
    padded = shape_of(Entry("a", "A", architecture="exaone4", n_layers=64))
    assert padded.forbidden_lengths == ()
