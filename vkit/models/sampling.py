"""Drawing the next token: each record has noise of its own, so nothing else can change what it is answered.

    sampling = Sampling(temperature=0.7, top_p=0.9, seed=1)
    model.generate(batch, max_new_tokens=64, sampling=sampling)      # of any family

A softmax is drawn from by the Gumbel-max trick: with g_v independent Gumbel noise, the argmax of

    logits_v / T + g_v

is token v with probability softmax(logits / T)_v. The noise is a pure function of (seed, record id, step, v)
and no state is kept: neither the batch, nor the other records, nor their order, nor a kill and resume can
change it. It comes from the counter-based generator Philox4x32-10, whose integers are the same on every
device; from there on, noise and logits are as exact as the device rounds.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vkit.errors import VkitError

_WORD = 0xFFFFFFFF  # of 32 bits, kept in int64
_FLOAT32 = torch.finfo(torch.float32)


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen; without arguments greedily.

    temperature: the logits are divided by it; 0 is greedy.
    top_p: only the fewest most likely tokens whose probabilities, at this temperature, sum to it or more are
        drawn from (nucleus sampling; Holtzman et al., "The Curious Case of Neural Text Degeneration", section
        3.1). 1 keeps all.
    seed: another seed, other draws.

    Raises:
        VkitError: a number is out of range, or would have no effect because decoding is greedy.

    >>> Sampling(temperature=-1.0)
    Traceback (most recent call last):
    vkit.errors.VkitError: temperature -1.0: give 0 for greedy decoding, or a finite number above it
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise VkitError(
                f"temperature {self.temperature}: give 0 for greedy decoding, or a finite number above it"
            )
        if not 0 < self.top_p <= 1:
            raise VkitError(f"top_p {self.top_p}: give a probability above 0, up to 1")
        if self.greedy:
            for name, value, neutral in (("top_p", self.top_p, 1), ("seed", self.seed, 0)):
                if value != neutral:
                    raise VkitError(
                        f"{name} {value} has no effect on greedy decoding; give a temperature above 0, or"
                        f" leave {name} out"
                    )

    @property
    def greedy(self) -> bool:
        return self.temperature == 0


GREEDY = Sampling()


class Chooser:
    """Turns the logits of a batch into scores, step by step: the argmax of the scores is the next token.

    Args:
        sampling: how to choose.
        ids: of the records, in the order of the batch; two of one id draw alike.
        device: of the logits.
    """

    def __init__(self, sampling: Sampling, ids: Sequence[str], device: torch.device) -> None:
        self._sampling = sampling
        digests = [hashlib.sha256(f"{sampling.seed} {id_}".encode()).digest() for id_ in ids]
        words = [[int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4)] for digest in digests]
        self._streams = torch.tensor(words, dtype=torch.long).reshape(len(ids), 4).to(device)

    def scores(self, logits: Tensor, step: int) -> Tensor:
        """Scores (B, V) of logits (B, V); float32, or the logits themselves where decoding is greedy.

        Logits that are not numbers make scores that are not finite.
        """
        if self._sampling.greedy:
            return logits
        logits = logits.float()
        # Less than float32 can say is a limit: 0 / 0 must not come of it.
        temperature = min(max(self._sampling.temperature, _FLOAT32.tiny), _FLOAT32.max)
        scaled = (logits - logits.amax(dim=-1, keepdim=True)) / temperature
        if self._sampling.top_p < 1:
            scaled = _nucleus(scaled, self._sampling.top_p)
        return scaled + gumbel(self._streams, step, logits.shape[-1])


def gumbel(streams: Tensor, step: int, count: int) -> Tensor:
    """Standard Gumbel noise (B, count) in float32, for one step of streams (B, 4) of 32-bit words in int64.

    Two words of a stream are the generator's key, and two stand in its counter beside block and step.
    """
    key_0, key_1, high_0, high_1 = streams.split(1, dim=1)  # (B, 1) each
    block = torch.arange(-(-count // 4), device=streams.device)  # (count / 4,), four words each
    words = philox((block, torch.full_like(key_0, step), high_0, high_1), (key_0, key_1))
    bits = torch.stack(words, dim=-1).flatten(1)[:, :count]
    # A small uniform makes a large noise, and there float32 is finest; the largest must stay below 1.
    uniform = ((bits + 0.5) * 2.0**-32).clamp(max=1 - 2.0**-24)
    return -torch.log(-torch.log1p(-uniform))


def philox(counter: Sequence[Tensor], key: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Four random words for each counter of four and key of two: 32 bits each in int64, of broadcast shapes.

    Source: Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3" (SC 2011), Philox4x32 of 10 rounds.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        # The products take 64 bits: int64 wraps around, and the shift's sign bits are cut off again.
        even, odd = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c2 = (odd >> 32 & _WORD) ^ c1 ^ k0, (even >> 32 & _WORD) ^ c3 ^ k1
        c1, c3 = odd & _WORD, even & _WORD
        k0, k1 = k0 + 0x9E3779B9 & _WORD, k1 + 0xBB67AE85 & _WORD
    return c0, c1, c2, c3


def _nucleus(logits: Tensor, top_p: float) -> Tensor:
    """Logits (B, V) with -inf at every token that the more likely ones leave outside ``top_p``."""
    ordered, order = logits.sort(dim=-1, descending=True, stable=True)
    above = nn.functional.pad(ordered.softmax(dim=-1).cumsum(dim=-1)[:, :-1], (1, 0))  # 0 above the first
    outside = torch.zeros_like(order, dtype=torch.bool).scatter(-1, order, above >= top_p)
    return logits.masked_fill(outside, -math.inf)
