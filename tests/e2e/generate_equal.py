"""Greedy text of `remla generate` is that of transformers in float32, token by token over 128 tokens: of SmolLM2 as scripts/demo.sh makes it, and of its
conversion to MLA, which stock transformers reads; of plain prompts, and of one that goes through the chat template.
usage: generate_equal.py REMLA DEMO. Exit 77: torch or transformers are missing, or the demo has not been run here."""
import json
import os
import subprocess
import sys

TOKENS = 128
PROMPTS = ["Once upon a time", "The history of the printing press begins", "def quicksort(values):\n", "1, 2, 3, 4,"]
CHAT = "Explain in a few sentences how a rainbow is made."


def ours(remla, model, prompt, chat):
    command = [remla, "generate", model, prompt, f"generate.max_tokens={TOKENS}", f"generate.chat={'always' if chat else 'never'}", "device.kind=cpu", "--json"]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"exit code {result.returncode}: {' '.join(command)}\n{result.stderr}")
    return json.loads(result.stdout)


def theirs(model, tokenizer, prompt, chat):
    import torch

    if chat:
        prompt = tokenizer.apply_chat_template([{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True)
    ids = torch.tensor([tokenizer(prompt, add_special_tokens=False).input_ids])
    with torch.no_grad():
        out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=TOKENS, do_sample=False)
    tokens = out[0, ids.shape[1] :].tolist()
    return tokens, tokenizer.decode(tokens, skip_special_tokens=True)


def compare(remla, folder):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    good = True
    for prompt, chat in [(p, False) for p in PROMPTS] + [(CHAT, True)]:
        found = ours(remla, folder, prompt, chat)
        tokens, text = theirs(model, tokenizer, prompt, chat)
        same = sum(1 for a, b in zip(found["tokens"], tokens) if a == b)
        equal = found["tokens"] == tokens and found["text"] == text
        print(f"{os.path.basename(folder)} ({type(model).__name__}), {prompt!r}: {same} of {len(tokens)} tokens equal{'' if equal else ', DIFFERENT'}")
        good &= equal
    return good


def main(remla, demo):
    try:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        print(f"skipped: {error}")
        return 77
    folders = [f for f in (os.path.join(demo, "smollm2"), os.path.join(demo, "mla")) if os.path.exists(os.path.join(f, "config.json"))]
    if not folders:
        print(f"skipped: the demo has left no model in {demo}")
        return 77
    return 0 if all([compare(remla, folder) for folder in folders]) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
