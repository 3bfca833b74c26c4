#!/usr/bin/env python3
"""The demo's tables and result.json out of what `remla eval --json` and `remla generate --json` printed. usage: demo_table.py FOLDER TOKENS SECONDS

Reads FOLDER/eval/{original,transmla,converted,recovered}.{docs,other,tasks,decode}.json, writes FOLDER/result.json.
"""
import json
import os
import sys

MODELS = ("original", "transmla", "converted", "recovered")
NAMES = {"transmla": "converted as TransMLA does"}
TASKS = {"arc_easy": "ARC-Easy", "piqa": "PIQA", "hellaswag": "HellaSwag"}


def read(folder, model, kind):
    with open(f"{folder}/eval/{model}.{kind}.json") as f:
        return json.load(f)


def row(folder, model):
    docs, other = read(folder, model, "docs"), read(folder, model, "other")
    tasks, text = read(folder, model, "tasks")["tasks"], read(folder, model, "decode")
    return {
        "loss": docs["loss"], "ppl": docs["ppl"], "loss_other": other["loss"], "ppl_other": other["ppl"], "kv_bytes_per_token": docs["kv_bytes_per_token"],
        "tasks": {t: {"n": tasks[t]["n"], "acc_norm": tasks[t]["acc_norm"]} for t in TASKS}, "decode_tok_s": text["tok_s"], "decode_behind": text["prompt_tokens"],
    }


def share(result, key):
    """The share of the damage, in loss, that training has recovered; None if the conversion did no damage."""
    original, converted, recovered = (result[m][key] for m in ("original", "converted", "recovered"))
    return (converted - recovered) / (converted - original) if converted > original else None


def percent(value):
    return "-" if value is None else f"{100 * value:.0f} %"


def main(folder, tokens, seconds):
    result = {model: row(folder, model) for model in MODELS}
    result["tokens"], result["seconds"] = int(tokens), float(seconds)
    with open(f"{folder}/result.json.partial", "w") as f:
        json.dump(result, f, indent=1)
        f.write("\n")
    os.rename(f"{folder}/result.json.partial", f"{folder}/result.json")

    line = "{:<26} {:>10} {:>12} {:>10} {:>12} {:>10}"
    print()
    print(line.format("", "held-out", "documents", "other", "text", "KV cache"))
    print(line.format("", "loss", "perplexity", "loss", "perplexity", "bytes/token"))
    for model in MODELS:
        r = result[model]
        print(line.format(NAMES.get(model, model), f"{r['loss']:.4f}", f"{r['ppl']:.2f}", f"{r['loss_other']:.4f}", f"{r['ppl_other']:.2f}", r["kv_bytes_per_token"]))
    docs, other = share(result, "loss"), share(result, "loss_other")
    print(line.format("share of", percent(docs), "", percent(other), "", ""))
    print("the damage recovered, in loss: (converted - recovered) / (converted - original)")
    print()
    questions = result["original"]["tasks"]["arc_easy"]["n"]
    print(line.format(f"of {questions} questions each", *TASKS.values(), "mean", "tokens/s"))
    for model in MODELS:
        r = result[model]
        scores = [r["tasks"][t]["acc_norm"] for t in TASKS]
        print(line.format(NAMES.get(model, model), *(percent(x) for x in scores), f"{100 * sum(scores) / len(scores):.1f} %", f"{r['decode_tok_s']:.1f}"))
    print(f"normalised accuracy, TransMLA's prompts; tokens a second of one text behind {result['original']['decode_behind']} tokens of another")
    print()
    smaller = 1 - result["converted"]["kv_bytes_per_token"] / result["original"]["kv_bytes_per_token"]
    print(f"KV cache {100 * smaller:.1f} % smaller; recovered on {result['tokens']} tokens of documentation; {result['seconds'] / 60:.1f} minutes without downloads.")
    print("The original is SmolLM2-135M-Instruct as dequantised from a 4-bit file (GGUF Q4_1), not the model that was published.")
    for kind, value in (("documents", docs), ("other text", other)):
        if value is not None and value > 1:
            print(f"More than 100 % on {kind}: the model has recovered and has also learnt the subject that it was trained on.")


if __name__ == "__main__":
    main(*sys.argv[1:])
