"""What a remote model would be on this node, from its headers alone: its shards, and the memory it takes."""

import msgspec

from app.core.models.architectures import architecture_of
from app.core.models.fits import MemoryEstimate, estimate_memory
from app.core.models.hub.answers import HubFile
from app.core.models.hub.headers import RemoteSource
from app.core.models.importing import plan_manifest
from app.core.models.manifest import Manifest


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """How models are run here. `memory` is what all may take, in bytes; a model gets `slots` sequences of
    `context` tokens."""

    memory: int
    context: int
    slots: int


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """A model on a hub. `manifest` has no hashes. `fits` and `verdict` are about this node's memory."""

    repo: str
    commit: str
    filename: str
    files: tuple[HubFile, ...]
    manifest: Manifest
    memory: MemoryEstimate
    context: int
    fits: bool
    verdict: str
    whole_only: str


def remote_manifest(remote: RemoteSource, shard_size: int) -> Manifest:
    """How the model would be cut, the hashes unknown. Raises BadModelFile."""
    first = remote.files[0]
    return plan_manifest(remote.source, shard_size, repo=first.repo, revision=first.commit)


def probe(remote: RemoteSource, *, shard_size: int, running: Running) -> Probe:
    """Raises BadModelFile where the files are no model."""
    manifest = remote_manifest(remote, shard_size)
    facts, first = manifest.facts, remote.files[0]
    context = min(running.context, facts.context_length) if facts.context_length else running.context
    estimate = estimate_memory(facts, weight_bytes=manifest.data_bytes, context=context, slots=running.slots)
    return Probe(
        repo=first.repo,
        commit=first.commit,
        filename=first.path,
        files=remote.files,
        manifest=manifest,
        memory=estimate,
        context=context,
        fits=estimate.total <= running.memory,
        verdict=estimate.sentence(running.memory),
        whole_only=architecture_of(facts.architecture).whole_only,
    )
