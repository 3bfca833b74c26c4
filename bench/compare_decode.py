"""The comparison of bench/compare_decode.sh. usage: compare_decode.py MODEL WORK [CONVERTED], in its environment; WORK may hold f32.gguf and f16.gguf."""
import importlib.metadata
import json
import os
import re
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
SHORT = "Once upon a time"
LONG = "The river ran through the valley, past the mill and the old stone bridge, and nobody remembered who had built it. " * 42
TOKENS, ROUNDS = os.environ["TOKENS"], int(os.environ["ROUNDS"])


def call(command, text=None):
    result = subprocess.run(command, capture_output=True, text=True, input=text)
    if result.returncode:
        sys.exit(f"exit code {result.returncode}: {' '.join(command)[:200]}\n{result.stderr}")
    return json.loads(result.stdout.splitlines()[-1])


def remla(model, prompt, count):
    found = call([os.environ["REMLA"], "generate", model, "-", f"generate.max_tokens={TOKENS}", "generate.chat=never", "device.kind=cpu", "--json"], prompt)
    assert found["prompt_tokens"] == count, (found["prompt_tokens"], count)
    return found


def main(model, work, *converted):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    rows = []
    for prompt in (SHORT, LONG):
        ids = tokenizer(prompt, add_special_tokens=False).input_ids
        peer = [sys.executable, os.path.join(HERE, "peer_decode.py")]
        given = [TOKENS, ",".join(map(str, ids))]
        engines = {"remla f32": lambda: remla(model, prompt, len(ids)), "transformers f32": lambda: call([*peer, "transformers", model, *given])}
        for kind in ("f32", "f16"):
            if os.path.exists(f"{work}/{kind}.gguf"):
                engines[f"llama.cpp {kind}"] = lambda kind=kind: call([*peer, "llama-cpp", f"{work}/{kind}.gguf", *given])
        for folder in converted:
            engines["remla f32 converted"] = lambda folder=folder: remla(folder, prompt, len(ids))
        found = {engine: [] for engine in engines}
        for _ in range(ROUNDS):
            for engine, run in engines.items():
                found[engine].append(run())
                print(f"==> {engine}, {len(ids)} tokens of prompt: {found[engine][-1]['tok_s']:.2f} tokens/s", file=sys.stderr, flush=True)
        ours = found["remla f32"][0]["tokens"]
        speeds = {engine: statistics.median(run["tok_s"] for run in runs) for engine, runs in found.items()}
        for engine, runs in found.items():
            same = sum(a == b for a, b in zip(ours, runs[0]["tokens"]))
            first = statistics.median(run["first_token_seconds"] for run in runs)
            rows.append(f"{engine},{len(ids)},{len(runs[0]['tokens'])},{speeds[engine]:.4g},{speeds['remla f32'] / speeds[engine]:.3f},{first:.4g},{same}")
    cpu = re.search(r"model name\s*: (.*)", open("/proc/cpuinfo").read())
    versions = [f"{package} {importlib.metadata.version(package)}" for package in ("torch", "transformers", "llama-cpp-python")
                if package != "llama-cpp-python" or os.path.exists(f"{work}/f32.gguf")]
    print(f"# {cpu[1] if cpu else 'unknown CPU'}, {os.environ['OMP_NUM_THREADS']} threads; {', '.join(versions)}; medians of {ROUNDS} rounds, taken in turns")
    print("# tok_s: behind the first token. same: tokens that are those of remla f32, at the same place")
    print("engine,prompt_tokens,tokens,tok_s,remla_ratio,first_token_s,same")
    print("\n".join(rows))


main(*sys.argv[1:])
