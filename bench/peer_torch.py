#!/usr/bin/env python3
"""The peer of bench/step: the same training step in PyTorch. usage: peer_torch.py --batch B --seq-len T [--steps N] [--bf16]

Config A (bench/step.c), random weights and tokens, float32 unless --bf16, tuned as a careful user would: fused AdamW, and the fused
attention of SDPA, whose values are padded to the width of queries and keys, since it is slow for unequal widths. Start it with
OMP_NUM_THREADS=cores and the GLIBC_TUNABLES of bench/compare_step.sh. Prints {"tok_s", "peak_rss_mib"}: the median step.
"""
import argparse
import json
import resource
import statistics
import time

import torch
from torch import nn
from torch.nn import functional as F

HIDDEN, LAYERS, HEADS, NOPE, ROPE, VALUE, RANK, MLP, VOCABULARY = 576, 30, 9, 64, 32, 64, 128, 1536, 49152


def linear(inputs, outputs):
    layer = nn.Linear(inputs, outputs, bias=False)
    nn.init.normal_(layer.weight, std=0.02)
    return layer


def rotate(x, turns):
    """Interleaved RoPE; turns: (T, ROPE/2, 2), cosine and sine."""
    even, odd = x[..., 0::2], x[..., 1::2]
    cos, sin = turns[..., 0], turns[..., 1]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.query = linear(HIDDEN, HEADS * (NOPE + ROPE))
        self.down = linear(HIDDEN, RANK + ROPE)
        self.norm = nn.RMSNorm(RANK, eps=1e-6)
        self.up = linear(RANK, HEADS * (NOPE + VALUE))
        self.out = linear(HEADS * VALUE, HIDDEN)

    def forward(self, x, turns):
        batch, length, _ = x.shape
        query = self.query(x).view(batch, length, HEADS, NOPE + ROPE).transpose(1, 2)
        latent, shared = self.down(x).split((RANK, ROPE), dim=-1)
        expanded = self.up(self.norm(latent)).view(batch, length, HEADS, NOPE + VALUE).transpose(1, 2)
        shared = rotate(shared, turns).unsqueeze(1).expand(batch, HEADS, length, ROPE)
        query = torch.cat((query[..., :NOPE], rotate(query[..., NOPE:], turns)), dim=-1)
        key = torch.cat((expanded[..., :NOPE], shared), dim=-1)
        value = F.pad(expanded[..., NOPE:], (0, NOPE + ROPE - VALUE))
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)[..., :VALUE]
        return self.out(mixed.transpose(1, 2).reshape(batch, length, HEADS * VALUE))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention_norm, self.attention = nn.RMSNorm(HIDDEN, eps=1e-5), Attention()
        self.mlp_norm = nn.RMSNorm(HIDDEN, eps=1e-5)
        self.gate, self.up, self.down = linear(HIDDEN, MLP), linear(HIDDEN, MLP), linear(MLP, HIDDEN)

    def forward(self, x, turns):
        x = x + self.attention(self.attention_norm(x), turns)
        y = self.mlp_norm(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class Model(nn.Module):
    def __init__(self, length):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, HIDDEN)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = nn.RMSNorm(HIDDEN, eps=1e-5)
        angles = torch.outer(torch.arange(length), 10000.0 ** (-torch.arange(0, ROPE, 2) / ROPE))
        self.register_buffer("turns", torch.stack((angles.cos(), angles.sin()), dim=-1))

    def forward(self, tokens, targets):
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, self.turns)
        return F.cross_entropy(F.linear(self.norm(x), self.embedding.weight).flatten(0, 1), targets.flatten())


def step(model, optimizer, tokens, bf16):
    start = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        loss = model(tokens[:, :-1], tokens[:, 1:])
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return time.perf_counter() - start


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--batch", type=int, required=True)
    arguments.add_argument("--seq-len", type=int, required=True)
    arguments.add_argument("--steps", type=int, default=3)
    arguments.add_argument("--bf16", action="store_true")
    a = arguments.parse_args()
    torch.manual_seed(0)
    model = Model(a.seq_len)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.01, fused=True)
    tokens = torch.randint(0, VOCABULARY, (a.batch, a.seq_len + 1))
    step(model, optimizer, tokens, a.bf16)  # allocates; not timed
    seconds = statistics.median(step(model, optimizer, tokens, a.bf16) for _ in range(a.steps))
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"tok_s": a.batch * a.seq_len / seconds, "peak_rss_mib": rss}))


if __name__ == "__main__":
    main()
