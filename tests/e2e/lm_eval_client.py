"""lm-eval as a client of `remla serve`, without torch: model types local-completions (ARC-Easy, PIQA, HellaSwag, and the perplexity of a text) and gguf.
Accuracies are identical to those of `remla eval --style lm-eval`, and so are the log-probabilities of all choices but for the digits that JSON drops.

usage: lm_eval_client.py REMLA GOLDEN                       a small model of the folder tests/golden, with questions made here
       lm_eval_client.py REMLA --model MODEL DATA LIMIT     a model and a data folder of your own; LIMIT questions of each task
Exit 77: lm-eval is missing, or the model or the data are."""
import glob
import json
import math
import os
import random
import subprocess
import sys
import sysconfig
import tempfile

from serve_client import ascii_model, serving, skip_without
from vllm_oracle import write_shard

HERE = os.path.dirname(os.path.abspath(__file__))
TASKS = ["arc_easy", "piqa", "hellaswag"]
LOGPROB_LIMIT = 1e-4     # nats, of a sum over a continuation
PERPLEXITY_LIMIT = 1e-5  # relative: decoding and the evaluation of shards add in another order
TORCH = ("torch", "torchgen", "functorch", "transformers", "accelerate")


def call(command, **more):
    result = subprocess.run(command, capture_output=True, text=True, **more)
    if result.returncode:
        sys.exit(f"exit code {result.returncode}: {' '.join(command)}\n{result.stdout}{result.stderr}")
    return result.stdout


def packages_without_torch(folder):
    """A folder for PYTHONPATH with what this environment has, less torch and what goes with it."""
    os.mkdir(folder)
    site = sysconfig.get_paths()["purelib"]
    for name in os.listdir(site):
        if name.split("-")[0] not in TORCH:
            os.symlink(os.path.join(site, name), os.path.join(folder, name))
    return folder


def make_questions(folder, limit):
    """Sums, as questions of the three tasks."""
    draw = random.Random(7)
    os.mkdir(folder)
    lines = {task: [] for task in TASKS}
    for i in range(limit):
        a, b, gold = draw.randrange(90), draw.randrange(90), draw.randrange(4)
        choices = [str(a + b + (j - gold) * draw.randrange(1, 9)) for j in range(4)]
        arc = {"question": f"What is {a} plus {b}?", "choices": choices[: 3 + i % 2], "gold": gold % 3}
        piqa = {"goal": f"Add {a} to {b}.", "sol1": f"Say {choices[0]}, which is it.", "sol2": f"Say {choices[1]}.", "gold": gold % 2}
        hellaswag = {"ind": i, "activity_label": "Sums", "ctx_a": f"Someone adds {a} and {b}.", "ctx_b": "he then",
                     "endings": [f"says {c} and [step] leaves." for c in choices], "gold": gold}
        for task, line in zip(TASKS, (arc, piqa, hellaswag)):
            lines[task].append({"id": str(i), "split": "test" if task == "arc_easy" else "validation"} | line)
    for task in TASKS:
        with open(f"{folder}/{task}.jsonl", "w") as f:
            f.writelines(json.dumps(line) + "\n" for line in lines[task])


def make_text(path):
    pages = ["The sum of two numbers is never less than either of them, if none is below zero.", "A short page.\n\nIn two paragraphs, with a (bracket).",
             "One, two, three, four; and so on, as far as anybody likes to count before supper."]
    with open(path, "w") as f:
        f.writelines(json.dumps({"text": page}) + "\n" for page in pages)


def lm_eval(kind, arguments, tasks, yaml, limit, packages, out):
    """What lm-eval finds: its results, and the log-probabilities of the choices of each question."""
    command = [sys.executable, "-S", "-m", "lm_eval", "--model", kind, "--model_args", arguments, "--tasks", ",".join(tasks), "--include_path", yaml,
               "--limit", str(limit), "--output_path", out, "--log_samples"]
    if kind == "local-completions":
        command += ["--batch_size", "16"]
    call(command, env=os.environ | {"PYTHONPATH": packages, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": out + "/home"})
    (found,) = glob.glob(out + "/**/results_*.json", recursive=True)
    with open(found) as f:
        results = json.load(f)["results"]
    logprobs = {}
    for path in glob.glob(out + "/**/samples_*.jsonl", recursive=True):
        with open(path) as f:
            for sample in map(json.loads, f):
                task = os.path.basename(path)[len("samples_") :].rsplit("_", 1)[0]
                logprobs.setdefault(task, {})[sample["doc_id"]] = [float(response[0]) if isinstance(response, list) else float(response)
                                                                   for response in sample["filtered_resps"]]
    return results, logprobs


def compare(kind, results, logprobs, ours, samples):
    good = True
    for task in TASKS:
        for metric in ("acc", "acc_norm"):
            theirs = results[task][metric + ",none"]
            same = abs(theirs - ours["tasks"][task][metric]) < 1e-9
            print(f"{kind}, {task}: {metric} {theirs:.4f}, remla eval {ours['tasks'][task][metric]:.4f}{'' if same else ': DIFFERENT'}")
            good &= same
        mine = [x["logprobs"] for x in samples if x["task"] == task]
        assert len(mine) == len(logprobs[task]) == ours["tasks"][task]["n"], (task, len(mine), len(logprobs[task]))
        furthest = max(abs(a - b) for i, line in enumerate(mine) for a, b in zip(line, logprobs[task][i], strict=True))
        print(f"{kind}, {task}: log-probabilities differ by {furthest:.1e} at most, limit {LOGPROB_LIMIT:g}")
        good &= furthest <= LOGPROB_LIMIT
    return good


def perplexity(remla, model, url, text, results, folder):
    """lm-eval gives a page's tokens behind the token that begins or ends texts: a window of a shard."""
    import requests

    info = requests.get(url + "/tokenizer_info").json()

    def ids_of(string):
        return requests.post(url + "/tokenize", json={"prompt": string, "add_special_tokens": False}).json()["tokens"]

    from lm_eval.tasks.wikitext.preprocess_wikitext import wikitext_detokenizer

    total, size, shard = 0.0, 0, os.path.join(folder, "page.ds")
    with open(text) as f:
        pages = [json.loads(line)["text"] for line in f]
    for page in pages:
        ids = ids_of(info["bos_token"] or info["eos_token"]) + ids_of(wikitext_detokenizer({"page": page}))
        write_shard(shard, ids)
        n = len(ids) - 1
        found = json.loads(call([remla, "eval", model, f"data.val={shard}", f"eval.seq_len={n}", f"val.tokens={n}", "data.document_mask=false", "device.kind=cpu",
                                 "--json"]))
        total += n * found["loss"]
        size += len(page.encode())
    mine, theirs = total / size / math.log(2), results["wikitext"]["bits_per_byte,none"]
    difference = abs(mine / theirs - 1)
    print(f"local-completions, perplexity: {theirs:.6f} bits a byte, remla eval {mine:.6f}, relative difference {difference:.1e}, limit {PERPLEXITY_LIMIT:g}")
    return difference <= PERPLEXITY_LIMIT


def check(remla, model, data, limit, context, folder):
    text, yaml, samples = (os.path.join(folder, name) for name in ("text.jsonl", "yaml", "samples.jsonl"))
    make_text(text)
    packages = packages_without_torch(os.path.join(folder, "packages"))
    call([sys.executable, os.path.join(HERE, "../../scripts/lm_eval_tasks.py"), data, yaml, "--text", text])
    ours = json.loads(call([remla, "eval", model, "--tasks", ",".join(TASKS), "--style", "lm-eval", "--limit", str(limit), "--samples", samples, f"eval.data={data}",
                            "device.kind=cpu", "--json"]))
    with open(samples) as f:
        samples = list(map(json.loads, f))
    with serving(remla, model) as url:
        arguments = f"model=any,base_url={url}/v1/completions,tokenizer_backend=remote,max_length={context},num_concurrent=2"
        results, logprobs = lm_eval("local-completions", arguments, [*TASKS, "wikitext"], yaml, limit, packages, os.path.join(folder, "completions"))
        good = compare("local-completions", results, logprobs, ours, samples)
        good &= perplexity(remla, model, url, text, results, folder)
        results, logprobs = lm_eval("gguf", f"base_url={url}", TASKS, yaml, limit, packages, os.path.join(folder, "gguf"))
        good &= compare("gguf", results, logprobs, ours, samples)
    return 0 if good else 1


def main(remla, first, *more):
    skip_without("lm_eval", "requests", "safetensors", "numpy")
    with tempfile.TemporaryDirectory() as folder:
        if first != "--model":
            model, data = os.path.join(folder, "model"), os.path.join(folder, "data")
            ascii_model(model, os.path.join(first, "mla"))
            make_questions(data, 12)
            return check(remla, model, data, 12, 512, folder)
        model, data, limit = more
        for path in (model, data):
            if not os.path.isdir(path):
                print(f"skipped: there is no {path}")
                return 77
        return check(remla, model, data, int(limit), 2048, folder)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
