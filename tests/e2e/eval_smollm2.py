"""Log-probabilities, picks and accuracies of SmolLM2-135M, as scripts/demo.sh makes it, on the built-in tasks in both styles, against those that an independent scorer left in
../shared/fixtures/eval: the first questions of each task, the awkward ones, and MMLU with five examples in a few subjects. usage: eval_smollm2.py REMLA FIXTURES MODEL.
Exit 77: fixtures or the demo's model are missing."""
import gzip
import json
import os
import subprocess
import sys
import tempfile

TASKS = "arc_easy,arc_challenge,openbookqa,piqa,hellaswag,winogrande"
SUBJECTS = ("abstract_algebra", "prehistory", "world_religions") # of 57, with five examples each


def lines(path):
    with gzip.open(path, "rt", encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def write(path, rows):
    with gzip.open(path, "wt", encoding="utf-8") as f:
        f.writelines(json.dumps(row) + "\n" for row in rows)


def check(remla, fixtures, model, folder, data, expected, style, tasks, *more):
    out = os.path.join(folder, "samples.jsonl")
    summary = out + ".json"
    with open(summary, "w", encoding="utf-8") as f:
        subprocess.run([remla, "eval", model, "--tasks", tasks, "--style", style, f"eval.data={data}", "--samples", out, "--json", *more], stdout=f, check=True)
    limit = more[:2] if more[:1] == ("--limit",) else ()
    return subprocess.run([sys.executable, os.path.join(fixtures, "check_eval.py"), out, expected, "--tasks", tasks, "--summary", summary, *limit], check=False).returncode == 0


def few_subjects(fixtures, folder, style):
    """The questions of SUBJECTS, and what is expected of them."""
    data, expected = os.path.join(folder, "few"), os.path.join(folder, f"few.{style}.jsonl.gz")
    os.makedirs(data, exist_ok=True)
    write(os.path.join(data, "mmlu.jsonl.gz"), [row for row in lines(f"{fixtures}/tasks/mmlu.jsonl.gz") if row["subject"] in SUBJECTS])
    write(expected, [row for row in lines(f"{fixtures}/expected.{style}.jsonl.gz") if row["task"] == "mmlu" and row["id"].split("/")[0] in SUBJECTS])
    return data, expected


def main(remla, fixtures, model):
    for path in (fixtures, model):
        if not os.path.isdir(path):
            print(f"skipped: there is no {path}")
            return 77
    good = True
    with tempfile.TemporaryDirectory() as folder:
        for style in ("transmla", "lm-eval"):
            good &= check(remla, fixtures, model, folder, f"{fixtures}/tasks", f"{fixtures}/expected.{style}.jsonl.gz", style, TASKS, "--limit", "5")
            good &= check(remla, fixtures, model, folder, f"{fixtures}/edge", f"{fixtures}/edge/expected.{style}.jsonl.gz", style, TASKS, "--limit", "5")
            data, expected = few_subjects(fixtures, folder, style)
            good &= check(remla, fixtures, model, folder, data, expected, style, "mmlu")
        good &= check(remla, fixtures, model, folder, data, expected, "lm-eval", "mmlu", "--shots", "5")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
