"""/api/admin/peers, /api/admin/network-code, /api/admin/join-network: the nodes that this one meets."""

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from app.core.api.answers import json_response
from app.core.api.body import read_json
from app.core.swarm.peers import Peers

if TYPE_CHECKING:
    from app.core.network.network import Peer


class JoinBody(BaseModel):
    """`code` is an invite code or a multiaddr that names its peer."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    code: Annotated[str, Field(min_length=1, max_length=4096)]


class AdminPeers:
    """Every endpoint answers 409 with a sentence where the network is off or could not start."""

    def __init__(self, *, peers: Peers) -> None:
        self._peers = peers

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/admin/peers", self.peers),
            web.get("/api/admin/network-code", self.code),
            web.post("/api/admin/join-network", self.join),
        ]

    async def peers(self, _http: web.Request) -> web.Response:
        network = await self._peers.network()
        return json_response(
            {
                "peer_id": network.peer_id,
                "node_id": network.node_id,
                "addresses": [str(address) for address in network.addresses],
                "peers": [_fields(peer) for peer in network.peers()],
            }
        )

    async def code(self, _http: web.Request) -> web.Response:
        """A code contains its key, so no cache may keep it."""
        network = await self._peers.network()
        # A running network has loaded it; a node without one does without.
        from app.core.network.invite import invite_svg  # noqa: PLC0415

        code = network.invite()
        response = json_response({"code": code, "qr_svg": invite_svg(code)})
        response.headers["Cache-Control"] = "no-store"
        return response

    async def join(self, http: web.Request) -> web.Response:
        """Answers when the node of the code has said hello."""
        body = await read_json(http, JoinBody)
        network = await self._peers.network()
        joined = await network.join(body.code)
        known = next((_fields(peer) for peer in network.peers() if peer.peer_id == joined), None)
        return json_response({"peer_id": joined, "peer": known})


def _fields(peer: "Peer") -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(peer)
    fields["round_trip_seconds"] = fields.pop("round_trip")
    return fields
