"""The model: a plain Llama, small enough to train on two cores, deep enough to be split over nodes.

Rotary positions turn neighbouring pairs of values, as llama.cpp does for this architecture, so the weights
go into the file as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Shape:
    """Sizes of the model."""

    vocabulary: int = 2048
    width: int = 256
    layers: int = 8
    heads: int = 8
    key_heads: int = 4
    inner: int = 704
    theta: float = 10000.0
    context: int = 2048
    epsilon: float = 1e-5

    @property
    def head_width(self) -> int:
        return self.width // self.heads


class Norm(nn.Module):
    """RMS norm, computed in full precision."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(shape.width))
        self.epsilon = shape.epsilon

    def forward(self, x: Tensor) -> Tensor:
        x = x.float()
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.epsilon) * self.weight


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions on pairs of neighbours."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2).to(x.dtype)


def linear(inputs: int, outputs: int) -> nn.Linear:
    return nn.Linear(inputs, outputs, bias=False)


class Block(nn.Module):
    """One layer; the names of its parts are those of the GGUF tensors."""

    def __init__(self, shape: Shape, dropout: float) -> None:
        super().__init__()
        self.shape, self.dropout = shape, dropout
        keys = shape.key_heads * shape.head_width
        self.attn_norm, self.ffn_norm = Norm(shape), Norm(shape)
        self.attn_q, self.attn_k = linear(shape.width, shape.width), linear(shape.width, keys)
        self.attn_v, self.attn_output = linear(shape.width, keys), linear(shape.width, shape.width)
        self.ffn_gate, self.ffn_up = linear(shape.width, shape.inner), linear(shape.width, shape.inner)
        self.ffn_down = linear(shape.inner, shape.width)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        rows, length, width = x.shape
        h = self.attn_norm(x)
        q = rotate(self._heads(self.attn_q(h)), cos, sin)
        repeats = self.shape.heads // self.shape.key_heads
        k = rotate(self._heads(self.attn_k(h)), cos, sin).repeat_interleave(repeats, 1)
        v = self._heads(self.attn_v(h)).repeat_interleave(repeats, 1)
        y = functional.scaled_dot_product_attention(q, k, v.to(q.dtype), attn_mask=mask)
        y = self.attn_output(y.transpose(1, 2).reshape(rows, length, width))
        x = x + functional.dropout(y, self.dropout, self.training)
        h = self.ffn_norm(x)
        y = self.ffn_down(functional.silu(self.ffn_gate(h)) * self.ffn_up(h))
        return x + functional.dropout(y, self.dropout, self.training)

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], -1, self.shape.head_width).transpose(1, 2)


class Guide(nn.Module):
    """The whole model; the table of the tokens is also its output matrix."""

    def __init__(self, shape: Shape, dropout: float = 0.0) -> None:
        super().__init__()
        self.shape = shape
        self.token_embd = nn.Embedding(shape.vocabulary, shape.width)
        self.blk = nn.ModuleList(Block(shape, dropout) for _ in range(shape.layers))
        self.output_norm = Norm(shape)
        self._initialise()
        pairs = torch.arange(0, shape.head_width, 2) / shape.head_width
        angles = torch.outer(torch.arange(float(shape.context)), shape.theta**-pairs)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def _initialise(self) -> None:
        """Each layer starts as the identity: what it writes back is zero at first."""
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5)
        nn.init.normal_(self.token_embd.weight, std=0.02)
        for block in self.blk:
            nn.init.zeros_(block.attn_output.weight)
            nn.init.zeros_(block.ffn_down.weight)

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        length = ids.shape[1]
        if mask is None:
            mask = torch.ones(length, length, dtype=torch.bool).tril()
        x = self.token_embd(ids)
        for block in self.blk:
            x = block(x, self.cos[:length], self.sin[:length], mask)
        return functional.linear(self.output_norm(x), self.token_embd.weight)
