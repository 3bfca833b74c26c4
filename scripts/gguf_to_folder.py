#!/usr/bin/env python3
"""Turns a llama GGUF (any quantisation) into a Hugging Face folder in float32. usage: gguf_to_folder.py SRC.gguf DST

The result is the dequantised model: what the GGUF computes, not the model that it was quantised from. Two things are undone:
llama.cpp stores the rows of attn_q and attn_k in pairs, because its RoPE is interleaved where Hugging Face's turns halves;
and the tokenizer is taken apart into a list of tokens and a list of merges. DST appears whole or not at all.
"""
import json
import os
import shutil
import sys

import gguf
import numpy as np
from safetensors.numpy import save_file

NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
TOP = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight", "output.weight": "lm_head.weight"}
CONTROL = 3  # token type of the GGUF: special tokens, which text never spells


def folder_name(name):
    """blk.3.attn_q.weight -> model.layers.3.self_attn.q_proj.weight"""
    if name in TOP:
        return TOP[name]
    _, layer, part, kind = name.split(".")
    return f"model.layers.{layer}.{NAMES[part]}.{kind}"


def halves_from_pairs(weight, heads):
    """Rows of every head from llama.cpp's order (pairs side by side) to Hugging Face's (first halves, then second halves)."""
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def tensors(reader, heads, key_heads):
    for t in reader.tensors:
        values = gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32)
        if ".attn_q." in t.name or ".attn_k." in t.name:
            values = halves_from_pairs(values, heads if ".attn_q." in t.name else key_heads)
        yield folder_name(t.name), np.ascontiguousarray(values)


def config(get, names):
    width, heads = get("llama.embedding_length"), get("llama.attention.head_count")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": len(get("tokenizer.ggml.tokens")),
        "hidden_size": width,
        "intermediate_size": get("llama.feed_forward_length"),
        "num_hidden_layers": get("llama.block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": get("llama.attention.head_count_kv"),
        "head_dim": width // heads,
        "hidden_act": "silu",
        "max_position_embeddings": get("llama.context_length"),
        "rms_norm_eps": float(str(np.float32(get("llama.attention.layer_norm_rms_epsilon")))),
        "rope_theta": get("llama.rope.freq_base"),
        "rope_scaling": None,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "mlp_bias": False,
        "initializer_range": 0.02,
        "tie_word_embeddings": "lm_head.weight" not in names,
        "bos_token_id": get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": get("tokenizer.ggml.eos_token_id"),
        "pad_token_id": get("tokenizer.ggml.padding_token_id"),
        "torch_dtype": "float32",
        "use_cache": True,
    }


def special_tokens(get):
    types = get("tokenizer.ggml.token_type")
    return [(i, token) for i, token in enumerate(get("tokenizer.ggml.tokens")) if types[i] == CONTROL]


def tokenizer(get):
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    added = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": i, "content": token, **added} for i, token in special_tokens(get)],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level]},
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: i for i, token in enumerate(get("tokenizer.ggml.tokens"))},
            "merges": get("tokenizer.ggml.merges"),
        },
    }


def tokenizer_config(get):
    tokens = get("tokenizer.ggml.tokens")
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_prefix_space": False,
        "bos_token": tokens[get("tokenizer.ggml.bos_token_id")],
        "eos_token": tokens[get("tokenizer.ggml.eos_token_id")],
        "unk_token": tokens[get("tokenizer.ggml.unknown_token_id")],
        "pad_token": tokens[get("tokenizer.ggml.padding_token_id")],
        "model_max_length": get("llama.context_length"),
        "clean_up_tokenization_spaces": False,
        "chat_template": get("tokenizer.chat_template"),
    }


def write_json(folder, name, value):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
        json.dump(value, f, ensure_ascii=False, indent=1)
        f.write("\n")


def main(source, target):
    reader = gguf.GGUFReader(source)

    def get(key):
        field = reader.get_field(key)
        if field is None:
            sys.exit(f"{source}: the GGUF has no key {key}")
        return field.contents()

    known = (get("general.architecture"), get("tokenizer.ggml.model"), get("tokenizer.ggml.pre"))
    if known != ("llama", "gpt2", "smollm"):
        sys.exit(f"{source}: architecture, tokenizer and pre-tokenizer are {known}, expected ('llama', 'gpt2', 'smollm')")
    weights = dict(tensors(reader, get("llama.attention.head_count"), get("llama.attention.head_count_kv")))
    partial = target + ".partial"
    shutil.rmtree(partial, ignore_errors=True)
    os.makedirs(partial)
    save_file(weights, os.path.join(partial, "model.safetensors"), metadata={"format": "pt"})
    write_json(partial, "config.json", config(get, weights))
    write_json(partial, "tokenizer.json", tokenizer(get))
    write_json(partial, "tokenizer_config.json", tokenizer_config(get))
    shutil.rmtree(target, ignore_errors=True)
    os.rename(partial, target)
    print(f"{target}: {len(weights)} tensors, {sum(w.size for w in weights.values()) / 1e6:.1f} M parameters in float32")


if __name__ == "__main__":
    main(*sys.argv[1:])
