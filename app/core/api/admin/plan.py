"""/api/admin/models/{id}/plan: where the model would run, how fast, what is missing, who would see what."""

from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from app.core.api.answers import json_response
from app.core.scheduling.result import NoPlan, Plan, Sight, Stage
from app.core.scheduling.shape import Segment
from app.core.swarm.local import HERE
from app.core.swarm.preview import Preview

Previewing = Callable[[str], Preview]


class AdminPlan:
    """`preview` raises ModelNotFound."""

    def __init__(self, *, preview: Previewing) -> None:
        self._preview = preview

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/api/admin/models/{id:.+}/plan", self.plan)]

    async def plan(self, http: web.Request) -> web.Response:
        return json_response(preview_fields(self._preview(http.match_info["id"])))


def preview_fields(preview: Preview) -> dict[str, Any]:
    placement = preview.placement
    outcome = _planned(placement) if isinstance(placement, Plan) else _failed(placement)
    return {
        "model_id": preview.id,
        "name": preview.name,
        "prompt_tokens": preview.request.prompt_tokens,
        "answer_tokens": preview.request.answer_tokens,
        **outcome,
        "memory": {
            "needed_bytes": preview.memory.total,
            "available_bytes": preview.room.memory,
            "fits": preview.fits,
            "sentence": preview.memory.sentence(preview.room.memory),
            "terms": msgspec.to_builtins(preview.memory.terms),
        },
    }


def _planned(found: Plan) -> dict[str, Any]:
    return {
        "possible": True,
        "problem": "",
        "placement": found.kind,
        "stages": [_stage(stage) for stage in found.stages],
        "round_trips": found.round_trips,
        "measured": found.measured,
        "tokens_per_second": round(found.tokens_per_second, 3) if found.measured else None,
        "first_token_seconds": round(found.first_token_seconds, 3) if found.measured else None,
        "missing": [],
        "who_sees": [_sight(sight) for sight in found.sights],
    }


def _failed(found: NoPlan) -> dict[str, Any]:
    missing = [
        _part(gap.part) | {"holders": [msgspec.to_builtins(holder) for holder in gap.holders]}
        for gap in found.gaps
    ]
    return {
        "possible": False,
        "problem": found.sentence,
        "placement": None,
        "stages": [],
        "round_trips": 0,
        "measured": False,
        "tokens_per_second": None,
        "first_token_seconds": None,
        "missing": missing,
        "who_sees": [],
    }


def _stage(stage: Stage) -> dict[str, Any]:
    who = {"peer": stage.peer, "here": stage.peer == HERE}
    return who | _part(stage.part) | {"loaded": stage.loaded, "standbys": list(stage.standbys)}


def _part(part: Segment) -> dict[str, Any]:
    return {
        "first_layer": part.first,
        "last_layer": part.last,
        "embedding": part.embedding,
        "head": part.head,
    }


def _sight(sight: Sight) -> dict[str, Any]:
    return {
        "peer": sight.peer,
        "here": sight.peer == HERE,
        "text": sight.text,
        "prompt_tokens": sight.prompt_tokens,
        "answer_tokens": sight.answer_tokens,
        "hidden_layers": [list(layers) for layers in sight.hidden],
    }
