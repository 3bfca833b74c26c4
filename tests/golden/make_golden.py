#!/usr/bin/env python3
"""Writes everything in this folder but itself: python3 make_golden.py (needs numpy, torch and safetensors).

    gqa/  mla/     two tiny models with random weights: a llama in float16, and a stock DeepSeek-V3 in bfloat16 with latent norms,
                   factored queries and a tied head
    train.ds ...   token shards; a document goes round the vocabulary in steps of its own, with some noise, so there is something to learn
    expected.txt   what the code below computes for them in float64: evaluation losses, and a training run's losses, gradient norms and rates

The code is an implementation of its own: it follows the published formulas, docs/FORMATS.md for windows and their order, and nothing of remla.
Weights are stored in half types, which float64 and float32 both hold exactly. The generator of random numbers is numpy's frozen one."""
import json
import math
import os

import numpy as np
import torch
from safetensors.torch import load_file, save_file

HERE = os.path.dirname(os.path.abspath(__file__))
V, C, L, H, G, D, F = 96, 32, 2, 4, 2, 8, 48          # the letters of model/dims.h
R, RQ, DN, DR, DV = 16, 12, 8, 4, 8
T = 32                                                # tokens per window
EOS = V - 1
EPS, LATENT_EPS, THETA = 1e-5, 1e-6, 1e4
RUN = dict(steps=10, batch=8, seed=7, lr=0.02, min_lr=0.002, warmup=3, beta1=0.9, beta2=0.95, eps=1e-8, decay=0.1, clip=0.7)


# ---- models --------------------------------------------------------------------------------------------------------

def shapes(kind):
    """Tensor names of the checkpoint and their shapes."""
    s = {"model.embed_tokens.weight": (V, C), "model.norm.weight": (C,)}
    if kind == "gqa":
        s["lm_head.weight"] = (V, C)
        attention = {"q_proj": (H * D, C), "k_proj": (G * D, C), "v_proj": (G * D, C), "o_proj": (C, H * D)}
    else:
        attention = {"q_a_proj": (RQ, C), "q_a_layernorm": (RQ,), "q_b_proj": (H * (DN + DR), RQ), "kv_a_proj_with_mqa": (R + DR, C),
                     "kv_a_layernorm": (R,), "kv_b_proj": (H * (DN + DV), R), "o_proj": (C, H * DV)}
    for layer in range(L):
        at = f"model.layers.{layer}."
        s.update({f"{at}self_attn.{name}.weight": shape for name, shape in attention.items()})
        s.update({at + "input_layernorm.weight": (C,), at + "post_attention_layernorm.weight": (C,),
                  at + "mlp.gate_proj.weight": (F, C), at + "mlp.up_proj.weight": (F, C), at + "mlp.down_proj.weight": (C, F)})
    return s


def random_weights(kind, dtype, seed):
    draw = np.random.RandomState(seed).standard_normal
    weights = {}
    for name, shape in sorted(shapes(kind).items()):
        x = 1 + 0.2 * draw(shape) if len(shape) == 1 else draw(shape) * (0.7 if "embed" in name else shape[1] ** -0.5)
        weights[name] = torch.from_numpy(x).to(dtype)
    return weights


def config(kind, dtype):
    common = dict(vocab_size=V, hidden_size=C, intermediate_size=F, num_hidden_layers=L, num_attention_heads=H, hidden_act="silu", rms_norm_eps=EPS,
                  rope_theta=THETA, rope_scaling=None, max_position_embeddings=512, attention_bias=False, eos_token_id=EOS, torch_dtype=dtype)
    if kind == "gqa":
        return dict(architectures=["LlamaForCausalLM"], model_type="llama", num_key_value_heads=G, head_dim=D, tie_word_embeddings=False, **common)
    return dict(architectures=["DeepseekV3ForCausalLM"], model_type="deepseek_v3", num_key_value_heads=H, head_dim=DR, tie_word_embeddings=True,
                q_lora_rank=RQ, kv_lora_rank=R, qk_nope_head_dim=DN, qk_rope_head_dim=DR, v_head_dim=DV, rope_interleave=True, first_k_dense_replace=L,
                n_routed_experts=0, **common)


# ---- forward, in float64 -------------------------------------------------------------------------------------------

def norm(x, gain, eps):
    return gain * x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps)


def rotate(x, interleaved):
    """Rotary positions of x (..., T, width): pairs are neighbours, or lie half the width apart."""
    half = x.shape[-1] // 2
    angle = torch.arange(x.shape[-2], dtype=torch.float64)[:, None] * THETA ** (-torch.arange(half, dtype=torch.float64) / half)
    pairs = x.unflatten(-1, (half, 2)) if interleaved else x.unflatten(-1, (2, half)).transpose(-1, -2)
    turned = torch.view_as_real(torch.view_as_complex(pairs.contiguous()) * torch.polar(torch.ones_like(angle), angle))
    return turned.flatten(-2) if interleaved else turned.transpose(-1, -2).flatten(-2)


def heads(x, count):
    return x.unflatten(-1, (count, -1)).transpose(1, 2)                     # (B,T,H*w) to (B,H,T,w)


def attention(kind, w, at, x, mask):
    def project(x, name):
        return x @ w[f"{at}{name}.weight"].T

    if kind == "gqa":
        q = rotate(heads(project(x, "q_proj"), H), False)
        k = rotate(heads(project(x, "k_proj"), G), False).repeat_interleave(H // G, 1)
        v = heads(project(x, "v_proj"), G).repeat_interleave(H // G, 1)
    else:
        q = heads(project(norm(project(x, "q_a_proj"), w[at + "q_a_layernorm.weight"], LATENT_EPS), "q_b_proj"), H)
        joint = project(x, "kv_a_proj_with_mqa")
        latent = norm(joint[..., :R], w[at + "kv_a_layernorm.weight"], LATENT_EPS)
        shared = rotate(joint[:, None, :, R:], True).expand(-1, H, -1, -1)  # one rotary key for all heads
        kv = heads(project(latent, "kv_b_proj"), H)
        q = torch.cat([q[..., :DN], rotate(q[..., DN:], True)], -1)
        k, v = torch.cat([kv[..., :DN], shared], -1), kv[..., DN:]
    scores = (q @ k.transpose(-1, -2)) / math.sqrt(q.shape[-1])
    out = scores.masked_fill(~mask, -math.inf).softmax(-1) @ v
    return project(out.transpose(1, 2).flatten(2), "o_proj")


def mean_loss(kind, w, windows, docmask):
    """Loss over the counted targets of `windows` (tokens (B,T+1), documents (B,T+1)), and their number."""
    tokens, document = windows
    ids, targets = tokens[:, :-1], tokens[:, 1:]
    mask = torch.ones(T, T, dtype=torch.bool).tril()[None, None]
    counted = torch.ones_like(targets, dtype=torch.bool)
    if docmask:
        mask = mask & (document[:, None, :-1, None] == document[:, None, None, :-1])
        counted = document[:, :-1] == document[:, 1:]
    x = w["model.embed_tokens.weight"][ids]
    for layer in range(L):
        at = f"model.layers.{layer}."
        x = x + attention(kind, w, at + "self_attn.", norm(x, w[at + "input_layernorm.weight"], EPS), mask)
        h = norm(x, w[at + "post_attention_layernorm.weight"], EPS)
        gate = h @ w[at + "mlp.gate_proj.weight"].T
        x = x + (gate * torch.sigmoid(gate) * (h @ w[at + "mlp.up_proj.weight"].T)) @ w[at + "mlp.down_proj.weight"].T
    head = w["lm_head.weight" if kind == "gqa" else "model.embed_tokens.weight"]
    log_p = (norm(x, w["model.norm.weight"], EPS) @ head.T).log_softmax(-1)
    losses = -log_p.gather(-1, targets[..., None])[..., 0]
    return losses[counted].mean(), int(counted.sum())


# ---- data ----------------------------------------------------------------------------------------------------------

def write_shard(name, count, seed):
    random = np.random.RandomState(seed)
    tokens, ends = [], []
    while len(tokens) < count:
        step, at = random.choice([1, 2, 5, 11]), random.randint(EOS)
        for _ in range(random.randint(1, 70)):
            tokens.append(at)
            at = random.randint(EOS) if random.rand() < 0.1 else (at + step) % EOS
        tokens.append(EOS)
        ends.append(len(tokens))
    tokens, ends = tokens[:count], [e for e in ends if e < count] + [count]
    np.array(tokens, "<u2").tofile(f"{HERE}/{name}.ds")
    np.array(ends, "<u8").tofile(f"{HERE}/{name}.ds.index")
    with open(f"{HERE}/{name}.ds.metadata", "w") as f:
        f.write(f"golden|2\n{count}\n{count / 1000:.1f}K")


def read_windows(name):
    tokens = np.fromfile(f"{HERE}/{name}.ds", "<u2").astype(np.int64)
    document = np.searchsorted(np.fromfile(f"{HERE}/{name}.ds.index", "<u8"), np.arange(len(tokens)), side="right")
    at = np.arange((len(tokens) - 1) // T)[:, None] * T + np.arange(T + 1)
    return torch.from_numpy(tokens[at]), torch.from_numpy(document[at])


def order(seed, position, count):
    """docs/FORMATS.md, "Order of training"."""
    whole = 2 ** 64 - 1

    def mix(x):
        x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9 & whole
        x = (x ^ x >> 27) * 0x94d049bb133111eb & whole
        return x ^ x >> 31

    def s(a, k):
        return mix(a + (k + 1) * 0x9e3779b97f4a7c15 & whole)

    epoch, x = divmod(position, count)
    width = max(1, -(-(count - 1).bit_length() // 2))
    keys = [s(s(mix(seed), epoch), r) for r in range(8)]
    while True:
        left, right = x >> width, x % 2 ** width
        for key in keys:
            left, right = right, left ^ mix(right ^ key) % 2 ** width
        x = left << width | right
        if x < count:
            return x


# ---- training ------------------------------------------------------------------------------------------------------

def rate(k):
    if k <= RUN["warmup"]:
        return RUN["lr"] * k / RUN["warmup"]
    done = (k - RUN["warmup"]) / (RUN["steps"] - RUN["warmup"])
    return RUN["min_lr"] + (RUN["lr"] - RUN["min_lr"]) * (1 + math.cos(math.pi * done)) / 2


def train(kind, weights):
    """Yields loss, gradient norm and rate of every step; changes `weights`."""
    tokens, document = read_windows("train")
    first, second = ({n: torch.zeros_like(x) for n, x in weights.items()} for _ in range(2))
    for k in range(1, RUN["steps"] + 1):
        chosen = [order(RUN["seed"], p, len(tokens)) for p in range((k - 1) * RUN["batch"], k * RUN["batch"])]
        leaves = {n: x.clone().requires_grad_() for n, x in weights.items()}
        loss, _ = mean_loss(kind, leaves, (tokens[chosen], document[chosen]), True)
        loss.backward()
        size = math.sqrt(sum(float((x.grad ** 2).sum()) for x in leaves.values()))
        shrink = min(1, RUN["clip"] / (size + 1e-6))
        for n, x in weights.items():
            g = leaves[n].grad * shrink
            first[n] = RUN["beta1"] * first[n] + (1 - RUN["beta1"]) * g
            second[n] = RUN["beta2"] * second[n] + (1 - RUN["beta2"]) * g * g
            m, v = first[n] / (1 - RUN["beta1"] ** k), second[n] / (1 - RUN["beta2"] ** k)
            decay = RUN["decay"] if x.dim() == 2 else 0
            weights[n] = x - rate(k) * (m / (v.sqrt() + RUN["eps"]) + decay * x)
        yield loss.item(), size, rate(k)


def main():
    write_shard("train", 72 * T + 5, 1)
    write_shard("val", 20 * T + 1, 2)
    lines = ["# written by make_golden.py: eval MODEL MASK TARGETS LOSS, train MODEL STEP LOSS GRADIENT_NORM RATE"]
    for kind, dtype, seed in (("gqa", "float16", 3), ("mla", "bfloat16", 4)):
        folder = f"{HERE}/{kind}"
        os.makedirs(folder, exist_ok=True)
        with open(f"{folder}/config.json", "w") as f:
            json.dump(config(kind, dtype), f, indent=2)
            f.write("\n")
        save_file(random_weights(kind, getattr(torch, dtype), seed), f"{folder}/model.safetensors", {"format": "pt"})
        weights = {n: x.double() for n, x in load_file(f"{folder}/model.safetensors").items()}
        for docmask in (False, True):
            loss, targets = mean_loss(kind, weights, read_windows("val"), docmask)
            lines.append(f"eval {kind} {'docmask' if docmask else 'plain'} {targets} {loss.item():.12g}")
        for k, (loss, size, lr) in enumerate(train(kind, weights), 1):
            lines.append(f"train {kind} {k} {loss:.12g} {size:.12g} {lr:.12g}")
    with open(f"{HERE}/expected.txt", "w") as f:
        f.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
