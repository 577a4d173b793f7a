"""Muon for the matrices of the layers, AdamW for the rest.

Muon (Jordan et al., 2024) replaces a matrix's momentum by the nearest orthogonal matrix. In this little time
it learns a bit more than AdamW alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


class Muon:
    """Momentum, then five Newton-Schulz steps; matrices of one shape go through one batched product."""

    def __init__(
        self, parameters: list[nn.Parameter], *, momentum: float = 0.95, decay: float = 0.05
    ) -> None:
        self._groups: dict[tuple[int, ...], list[nn.Parameter]] = {}
        for parameter in parameters:
            self._groups.setdefault(tuple(parameter.shape), []).append(parameter)
        self._buffers = {shape: torch.zeros(len(group), *shape) for shape, group in self._groups.items()}
        self._momentum, self._decay = momentum, decay

    @torch.no_grad()
    def step(self, rate: float) -> None:
        for shape, group in self._groups.items():
            gradient = torch.stack([parameter.grad for parameter in group])
            buffer = self._buffers[shape].lerp_(gradient, 1 - self._momentum)
            update = orthogonal(gradient.lerp(buffer, self._momentum))
            scale = max(1.0, shape[0] / shape[1]) ** 0.5
            for parameter, change in zip(group, update, strict=True):
                parameter.mul_(1 - rate * self._decay).add_(change, alpha=-rate * scale)


def orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """Roughly the nearest orthogonal matrix to each matrix."""
    x = matrices.bfloat16()
    wide = x.shape[1] <= x.shape[2]
    x = x if wide else x.mT
    x = x / (x.float().norm(dim=(1, 2), keepdim=True).bfloat16() + 1e-7)
    a, b, c = NEWTON_SCHULZ
    for _ in range(5):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return (x if wide else x.mT).float()


@dataclass(frozen=True)
class Stage:
    """A part of the training with a schedule of its own: a warm-up, then a cosine.

    ``horizon`` is where the cosine would end; a shorter stage leaves off while the rate is still high. One
    that is not ``fresh`` keeps the momentum of the one before.
    """

    steps: int
    horizon: int
    peak: float = 1.0
    warm: int = 20
    fresh: bool = True

    def scale(self, number: int) -> float:
        """The share of the full rate at this step."""
        cosine = 0.5 * (1 + math.cos(math.pi * number / self.horizon))
        return self.peak * min(1.0, (number + 1) / self.warm) * (0.02 + 0.98 * cosine)


class Optimiser:
    """Both optimisers under the schedule of a stage, which may be exchanged for the next."""

    def __init__(
        self, model: nn.Module, stage: Stage, *, rate: float = 0.02, rest_rate: float = 3e-3
    ) -> None:
        matrices = [p for name, p in model.named_parameters() if name.startswith("blk") and p.dim() == 2]
        chosen = {id(parameter) for parameter in matrices}
        self._rest = [parameter for parameter in model.parameters() if id(parameter) not in chosen]
        self._muon = Muon(matrices)
        self._adam = torch.optim.AdamW(self._rest, betas=(0.9, 0.98), weight_decay=0, fused=True)
        self._model, self.stage, self._rate, self._rest_rate = model, stage, rate, rest_rate

    def step(self, number: int) -> None:
        """Apply the gradients of this step and clear them."""
        scale = self.stage.scale(number)
        torch.nn.utils.clip_grad_norm_(self._rest, 1.0)
        for group in self._adam.param_groups:
            group["lr"] = self._rest_rate * scale
        self._muon.step(self._rate * scale)
        self._adam.step()
        self._model.zero_grad(set_to_none=False)
