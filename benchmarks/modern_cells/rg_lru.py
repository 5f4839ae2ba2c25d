"""RG-LRU with its convolution: the recurrent block of Griffin (De et al. 2024).

Legend of shapes: B batch size, T steps, I inputs, H hidden units, K heads, D = H / K.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, logsigmoid

from benchmarks.modern_cells.base import ModernCell
from chargen.config import TrainConfig
from chargen.model.cells import State
from chargen.model.cells.bptt import sigmoid_back
from chargen.model.cells.scan import scan
from chargen.model.spec import Shape

KERNEL = 4  # steps that the convolution sees
SHARPNESS = 8.0  # c of the paper
SLOWEST, FASTEST = 0.999, 0.9  # retention at first, where the gate is open


class RGLRU(ModernCell):
    """The recurrent block: a gated branch times a branch of convolution and linear recurrence.

    ::

        v_t = RMSNorm(x_t) * gain
        u_t = b_u + sum_j w_j * (W_u v)_{t-j}                   convolution, j = 0..3
        r_t = sigma(A u_t + b_r);  i_t = sigma(B u_t + b_i)     A, B block-diagonal, K blocks
        a_t = sigma(L)^(8 r_t)
        s_t = a_t * s_{t-1} + sqrt(1 - a_t^2) * i_t * u_t       RG-LRU
        h_t = x_t + W_o (gelu(W_g v_t + b_g) * s_t)             x_t only if I = H

    The state is s and the last three W_u v. H(2I + H + 2H/K) + H(KERNEL + 6) + I parameters. Three
    layers make a model, as of the minimal cells. The gated MLP that follows each block in Griffin
    is left out: it is no recurrence.
    """

    kind = "rg-lru"
    parts = "sabc"
    heads = 8
    depth = 3
    gates: Tensor
    weight_out: Tensor
    kernel: Tensor
    decay: Tensor
    bias_gates: Tensor
    bias_kernel: Tensor
    gain: Tensor

    @classmethod
    def shapes(cls, inputs: int, hidden: int) -> dict[str, Shape]:
        """Return the shape of each weight by name, for I inputs and H hidden units."""
        own = hidden // cls.heads
        return {
            "weight_ih_l0": (2 * hidden, inputs),  # W_u and W_g
            "bias_ih_l0": (hidden,),  # b_g
            "gates": (2, cls.heads, own, own),
            "weight_out": (hidden, hidden),
            "kernel": (KERNEL, hidden),
            "decay": (hidden,),
            "bias_gates": (2, hidden),
            "bias_kernel": (hidden,),
            "gain": (inputs,),
        }

    def reset(self, generator: torch.Generator, start: TrainConfig) -> None:
        """Initialize matrices as input weights; the retention is spread from 0.9 to 0.999."""
        for weight in self.parameters():
            nn.init.zeros_(weight)
        blocks = self.weight_ih_l0.chunk(2)
        for matrix in (*blocks, self.weight_out, *self.gates.flatten(0, 1)):
            nn.init.xavier_uniform_(matrix, generator=generator)
        nn.init.ones_(self.gain)
        nn.init.normal_(self.kernel, 0, KERNEL**-0.5, generator=generator)
        retention = torch.linspace(FASTEST, SLOWEST, self.hidden_size).pow(1 / SHARPNESS)
        self.decay.copy_(torch.logit(retention))

    def advance(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return h_t (B, H) and the state for x_t (B, I)."""
        (s,), *before = state
        u, gate = self._branches(x)
        window = torch.stack([*(part[0] for part in before), u])  # (KERNEL, B, H)
        u = (window * self.kernel[:, None]).sum(0) + self.bias_kernel
        r, i = torch.sigmoid(self._gate_logits(u)).chunk(2, dim=-1)
        log_a = SHARPNESS * logsigmoid(self.decay) * r
        s = torch.exp(log_a) * s + torch.sqrt(1 - torch.exp(2 * log_a)) * i * u
        return self._output(x, gate, s), (s[None], *(v[None] for v in window[1:]))

    def run(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the outputs (B, T, H) and the last state for inputs x (B, T, I)."""
        x, steps = x.transpose(0, 1), x.shape[1]
        u, gate = self._branches(x)
        padded = torch.cat([*state[1:], u])  # (KERNEL - 1 + T, B, H)
        mixed = self.bias_kernel
        for number, weight in enumerate(self.kernel):
            mixed = torch.addcmul(mixed, padded[number : number + steps], weight)
        rates = SHARPNESS * logsigmoid(self.decay)
        s = RGLRUSteps.apply(self._gate_logits(mixed), mixed, rates, state[0][0])  # type: ignore[no-untyped-call]
        y = self._output(x, gate, s).transpose(0, 1)
        return y, (s[-1:], *(padded[n - KERNEL + 1][None] for n in range(KERNEL - 1)))

    def _branches(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return W_u v and gelu(W_g v + b_g), (..., H) each, for x (..., I)."""
        scale = torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)
        both = nn.functional.linear(x * scale, self.weight_ih_l0 * self.gain)
        u, gate = both.chunk(2, dim=-1)
        return u.to(self.gain.dtype), gelu(gate + self.bias_ih_l0)

    def _gate_logits(self, u: Tensor) -> Tensor:
        """Return A u + b_r and B u + b_i, (..., 2*H), for u (..., H)."""
        rows = u.reshape(-1, self.heads, u.shape[-1] // self.heads).transpose(0, 1)  # (K, N, D)
        both = torch.bmm(rows, torch.cat([*self.gates], dim=2))  # (K, N, 2*D)
        r, i = (half.transpose(0, 1).flatten(1) for half in both.chunk(2, dim=2))
        joined = torch.cat([r, i], dim=1).view(*u.shape[:-1], -1)
        return joined.to(u.dtype) + self.bias_gates.flatten()

    def _output(self, x: Tensor, gate: Tensor, s: Tensor) -> Tensor:
        """Return h (..., H) of the block."""
        y = nn.functional.linear(gate * s, self.weight_out).to(x.dtype)
        return x + y if x.shape == y.shape else y


class RGLRUSteps(torch.autograd.Function):
    """All steps of an RG-LRU by chargen's scan, with the derivatives by hand."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, u: Tensor, rates: Tensor, start: Tensor) -> Tensor:
        """Return all s (T, B, H).

        Args:
            ctx: stores tensors for the backward pass.
            logits: of r and i, (T, B, 2*H).
            u: inputs (T, B, H).
            rates: ln a where r = 1, (H,).
            start: s before the first step, (B, H).
        """
        gates = torch.sigmoid(logits)
        r, i = gates.chunk(2, dim=2)
        log_a = rates * r
        a, entering = torch.exp(log_a), i * u
        passing = torch.expm1(log_a.mul_(2)).neg_().sqrt_()  # sqrt(1 - a^2)
        s = scan(a, passing * entering, start)
        ctx.save_for_backward(gates, u, rates, start, a, passing, entering, s)
        return s

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients of logits, u, rates and start.

        The gradient of s follows the same recurrence, backwards.
        """
        gates, u, rates, start, a, passing, entering, s = ctx.saved_tensors
        r, i = gates.chunk(2, dim=2)
        passed = scan(a, a * grad, torch.zeros_like(start), backwards=True)  # to the step before
        d = grad.clone()  # of s_t
        d[:-1] += passed[1:]
        seen = (a / passing).mul_(entering).neg_()  # the derivative of s by a
        seen[0] += start
        seen[1:] += s[:-1]
        of_log = seen.mul_(d).mul_(a)
        entered = d.mul_(passing)
        back = torch.empty_like(gates)
        sigmoid_back(of_log * rates, r, grad_input=back[..., : r.shape[2]])
        sigmoid_back(entered * u, i, grad_input=back[..., r.shape[2] :])
        return back, entered * i, of_log.mul_(r).flatten(0, 1).sum(0), passed[0]
