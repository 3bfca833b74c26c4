#!/usr/bin/env python3
"""A peer of `remla generate`: greedy text, one token at a time. usage: peer_decode.py transformers|llama-cpp MODEL TOKENS IDS, the prompt's ids with commas.

transformers: its generate in float32 with its cache; MODEL is a folder. llama-cpp: MODEL is a GGUF; its cache is float16, as it comes. Prints JSON: the tokens,
the seconds to the first one, and the tokens a second behind it.
"""
import json
import os
import sys
import time

THREADS = int(os.environ["OMP_NUM_THREADS"])


def with_transformers(folder, ids, count):
    import torch
    from transformers import AutoModelForCausalLM

    class Stamps:
        """What generate calls with the prompt, and then with each token."""

        def __init__(self):
            self.times, self.tokens = [], []

        def put(self, value):
            self.times.append(time.perf_counter())
            self.tokens += value.flatten().tolist()

        def end(self):
            pass

    torch.set_num_threads(THREADS)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    prompt = torch.tensor([ids])
    with torch.no_grad():
        for stamps in (Stamps(), Stamps()):  # the first one warms up
            start = time.perf_counter()
            model.generate(prompt, attention_mask=torch.ones_like(prompt), min_new_tokens=count, max_new_tokens=count, do_sample=False, streamer=stamps)
    return start, stamps.times[1:], stamps.tokens[len(ids) :]


def with_llama_cpp(path, ids, count):
    from llama_cpp import Llama

    model = Llama(path, n_ctx=len(ids) + count + 64, n_threads=THREADS, n_threads_batch=THREADS, verbose=False)
    for _ in range(2):
        model.reset()
        times, tokens = [], []
        start = time.perf_counter()
        for token in model.generate(ids, temp=0.0, repeat_penalty=1.0, reset=True):
            times.append(time.perf_counter())
            tokens.append(token)
            if len(tokens) == count:
                break
    return start, times, tokens


def main(engine, model, count, ids):
    ids = [int(i) for i in ids.split(",")]
    start, times, tokens = {"transformers": with_transformers, "llama-cpp": with_llama_cpp}[engine](model, ids, int(count))
    print(json.dumps({"tokens": tokens, "first_token_seconds": times[0] - start, "tok_s": (len(times) - 1) / (times[-1] - times[0])}))


main(*sys.argv[1:])
