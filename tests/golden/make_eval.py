#!/usr/bin/env python3
"""Writes eval/ here: python3 make_eval.py. Awkward questions of the seven built-in tasks in the layout of docs/EVALUATION.md, a tokenizer.json of 96 tokens, one for each
character (and byte), that fits the models beside it, and expected.STYLE.jsonl: prompts, continuations, lengths and tokens by the definitions there, written down once more
in Python, whose strip, capitalize and len these definitions mean."""
import gzip
import json
import os
import re

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "eval")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
M = 512  # max_position_embeddings of gqa/ and mla/


def clean(text):
    text = text.replace(" [title]", ". ")
    return re.sub(r"\[.*?\]", "", text).replace("  ", " ")


# ---- questions -------------------------------------------------------------------------------------------------------------------------------------

ARC = [("a/1", "Which is a metal?", ["iron", "wood", "milk"], 0), ("a/2", " Spaces at both ends ", [" one", "two ", " three ", "four", "five"], 4),
       ("a/3", "Two that are\nequal", ["same", "same"], 1), ("a/4", "Caf\u00e9 \u2014 50 \u20ac?", ["\u00e9t\u00e9", "50\u00b0C", "x", "\U0001f600"], 2)]
PIQA = [("To open a jar", "twist the lid ", "twist the jar's  lid"), ("", "nothing", "something"), ("goal {with} braces", "{sol2}", "[step] do it")]
HELLASWAG = [("Cooking", "A man cooks.", "the MAN in Rome", ["eats [it].", " stirs", "sleeps  well ", "", "[substeps] Many"], 0),
             ("Home [title] How to", "[header] Do [it [twice] now] ok.", "", ["a  b", "[title] c", "d [e", "f] g"], 3),
             ("Lines", "First [line\nsecond] line.   Three", "he", ["x", "y\nz"], 1)]
WINOGRANDE = [("The cup fits the box because the _ is small.", "cup", "box", 0), ("_ waved  at Ann , and _ left.", "Bob", "Ann ", 1), ("She sold it to the _ ", "shop", "bank", 1)]
MMLU = [("high_school_law", "dev", f" Question {i}? ", [f"no {i}", f"yes{i}", "", " maybe "], i % 4) for i in range(5)]
MMLU += [("high_school_law", "test", f"Is it {i}?\n", ["a", "b ", "c", "d"], i) for i in range(3)]
MMLU += [("zoology", "dev", f"Animal {i}", ["cat", "dog", "cow", "hen"], 3 - i % 4) for i in range(6)]
MMLU += [("zoology", "test", "A long tale " + "of cats and dogs " * 30, ["cat", "dog", "cow", "hen"], 2)]


def files():
    arc = [{"id": i, "split": "test", "question": q, "choices": c, "gold": g} for i, q, c, g in ARC]
    yield "arc_easy", [{**arc[0], "split": "validation"}] + arc
    yield "arc_challenge", arc[::-1]
    yield "openbookqa", [{"id": i, "split": s, "question_stem": q, "choices": (c * 2)[:4], "gold": g % 4} for s in ("validation", "test") for i, q, c, g in ARC if s == "test" or i < "a/4"]
    yield "piqa", [{"id": str(i), "split": "validation", "goal": g, "sol1": a, "sol2": b, "gold": i % 2} for i, (g, a, b) in enumerate(PIQA)]
    yield "hellaswag", [{"id": str(i), "split": "validation", "ind": i, "activity_label": l, "ctx_a": a, "ctx_b": b, "endings": e, "gold": g}
                        for i, (l, a, b, e, g) in enumerate(HELLASWAG)]
    yield "winogrande", [{"id": str(i), "split": "validation", "sentence": s, "option1": a, "option2": b, "gold": g} for i, (s, a, b, g) in enumerate(WINOGRANDE)]
    yield "mmlu", [{"id": f"{s}/{p}/{i}", "split": p, "subject": s, "question": q, "choices": c, "gold": g} for i, (s, p, q, c, g) in enumerate(MMLU)]


# ---- prompts: (contexts, continuations) of a line ---------------------------------------------------------------------------------------------------

def letters(line):
    return f"{line['question'].strip()}\n" + "".join(f"{LETTERS[i]}. {c}\n" for i, c in enumerate(line["choices"])) + "Answer:"


def prompts(task, style, line, examples):
    ours = style == "transmla"
    if task.startswith("arc"):
        return f"Question: {line['question']}\nAnswer:", [f" {c}" for c in line["choices"]]
    if task == "openbookqa":
        return line["question_stem"], [f" {c}" for c in line["choices"]]
    if task == "piqa":
        return f"Question: {line['goal']}\nAnswer:", [f" {line['sol1']}", f" {line['sol2']}"]
    if task == "hellaswag":
        text = f"{line['activity_label']}: {line['ctx_a']} {line['ctx_b'].capitalize()}"
        if ours:
            return clean(text + " "), [" " + clean(e) for e in line["endings"]]
        return clean(text.strip()), [" " + clean(e.strip()) for e in line["endings"]]
    if task == "winogrande":
        before, after = line["sentence"].split("_", 1)
        options = [line["option1"], line["option2"]]
        if ours:
            return before, [f"{o} {after.strip()}" for o in options]
        return [before + o for o in options], [f" {after.strip()}"] * 2
    subject = line["subject"].replace("_", " ")
    if ours:
        return f"The following are questions about {subject}.\nQuestion: {line['question']}\nAnswer:", [f" {c}" for c in line["choices"]]
    shots = "".join(f"{letters(e)} {LETTERS[e['gold']]}\n\n" for e in examples)
    return f"The following are multiple choice questions (with answers) about {subject}.\n\n{shots}{letters(line)}", [f" {LETTERS[i]}" for i in range(len(line["choices"]))]


def split_of(task, style):
    if task in ("piqa", "hellaswag", "winogrande"):
        return "validation"
    return "validation" if task == "openbookqa" and style == "transmla" else "test"


# ---- tokens: one for each byte that the vocabulary has -----------------------------------------------------------------------------------------------

BYTES = [10, *range(32, 126)]  # a line feed and ASCII without the tilde; other bytes have no token and vanish


def encode(text):
    return [BYTES.index(b) for b in text.encode() if b in BYTES]


def tokens(style, context, continuation):
    kept = context.rstrip()
    whole, begin = encode(context + continuation), encode(kept)
    if not kept:  # the end-of-text token stands for the context
        whole, begin = [95] + whole, [95]
    if style == "transmla" and len(whole) == len(begin):
        begin = whole[:-1]
    scored = whole[len(begin):]
    return (begin + scored)[-(min(M, 2048) + 1):], len(scored)


def expected(style, task, lines, shots):
    for line in lines:
        if line["split"] != split_of(task, style):
            continue
        examples = [l for l in lines if l["split"] == "dev" and l["subject"] == line["subject"]][:shots] if task == "mmlu" else []
        context, continuations = prompts(task, style, line, examples)
        contexts = context if isinstance(context, list) else [context] * len(continuations)
        ids = [tokens(style, a, b) for a, b in zip(contexts, continuations)]
        yield {"task": task, "shots": shots, "id": line["id"], "gold": line["gold"], "context": context, "continuations": continuations,
               "chars": [len(c) - c.startswith(" ") for c in continuations], "tokens": [n for _, n in ids], "context_tokens": [len(t) - n for t, n in ids], "ids": [t for t, _ in ids]}


def write(name, lines):
    with open(os.path.join(HERE, name), "w", encoding="utf-8") as f:
        for line in lines:
            f.write(json.dumps(line, ensure_ascii=False) + "\n")


def byte_letters():
    """GPT-2's alphabet: a letter for each byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in plain]
    return {**{b: chr(b) for b in plain}, **{b: chr(256 + i) for i, b in enumerate(others)}}


def main():
    os.makedirs(HERE, exist_ok=True)
    tasks = list(files())
    for task, lines in tasks:
        write(f"{task}.jsonl", lines)
    for style in ("transmla", "lm-eval"):
        rows = [row for task, lines in tasks for row in expected(style, task, lines, 0)]
        if style == "lm-eval":
            rows += expected(style, "mmlu", dict(tasks)["mmlu"], 5)
        with gzip.GzipFile(os.path.join(HERE, f"expected.{style}.jsonl.gz"), "wb", mtime=0) as f:
            f.write("".join(json.dumps(row) + "\n" for row in rows).encode())
    letter = byte_letters()
    vocabulary = {letter[b]: i for i, b in enumerate(BYTES)}
    vocabulary["<|endoftext|>"] = 95
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    with open(os.path.join(HERE, "tokenizer.json"), "w", encoding="utf-8") as f:
        json.dump({"version": "1.0", "truncation": None, "padding": None, "added_tokens": [{"id": 95, "content": "<|endoftext|>", "single_word": False, "lstrip": False,
                   "rstrip": False, "normalized": False, "special": True}], "normalizer": None, "pre_tokenizer": level, "post_processor": None, "decoder": level,
                   "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": False,
                             "byte_fallback": False, "vocab": vocabulary, "merges": []}}, f, ensure_ascii=False, separators=(",", ":"))
        f.write("\n")
    with open(os.path.join(HERE, "tokenizer_config.json"), "w") as f:
        json.dump({"eos_token": "<|endoftext|>"}, f)
        f.write("\n")


if __name__ == "__main__":
    main()
