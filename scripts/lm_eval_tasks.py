#!/usr/bin/env python3
"""Lets lm-eval score its own tasks on a data folder, without a network. usage: lm_eval_tasks.py DATA OUT [--text FILE.jsonl]

DATA holds TASK.jsonl or TASK.jsonl.gz as scripts/eval_data.sh lays them out. OUT gets the same questions in the fields that lm-eval's tasks read, and for each
task a YAML file that includes lm-eval's own and changes nothing but where the questions come from. So `lm_eval --include_path OUT --tasks arc_easy,mmlu ...`
runs lm-eval's prompts and metrics under their own names; mmlu has the subjects that DATA has. --text adds the task `wikitext` (perplexity) on a text of one's
own, a document for each line's "text". Prints the names of the tasks.
"""
import argparse
import gzip
import importlib.util
import json
import os
import sys

LETTERS = "ABCDEFGH"


def lm_eval_tasks():
    found = importlib.util.find_spec("lm_eval")
    if found is None:
        sys.exit("lm_eval_tasks.py: there is no lm-eval in this environment: pip install 'lm-eval[api]'")
    return os.path.join(found.submodule_search_locations[0], "tasks")


def read(folder, task):
    """The lines of a task, or None where the folder lacks it."""
    for name, opener in ((task + ".jsonl", open), (task + ".jsonl.gz", gzip.open)):
        path = os.path.join(folder, name)
        if os.path.exists(path):
            with opener(path, "rt", encoding="utf-8") as f:
                return [json.loads(line) for line in f]
    return None


def labelled(choices):
    return {"text": choices, "label": list(LETTERS[: len(choices)])}


# Of each task: where lm-eval has it, and a line in the fields of the data set that it was written for.
TASKS = {
    "arc_easy": ("arc/arc_easy.yaml", lambda x: {"question": x["question"], "choices": labelled(x["choices"]), "answerKey": LETTERS[x["gold"]]}),
    "arc_challenge": ("arc/arc_challenge.yaml", lambda x: {"question": x["question"], "choices": labelled(x["choices"]), "answerKey": LETTERS[x["gold"]]}),
    "openbookqa": ("openbookqa/openbookqa.yaml",
                   lambda x: {"question_stem": x["question_stem"], "choices": labelled(x["choices"]), "answerKey": LETTERS[x["gold"]]}),
    "piqa": ("piqa/piqa.yaml", lambda x: {"goal": x["goal"], "sol1": x["sol1"], "sol2": x["sol2"], "label": x["gold"]}),
    "hellaswag": ("hellaswag/hellaswag.yaml", lambda x: {k: x[k] for k in ("activity_label", "ctx_a", "ctx_b", "endings")} | {"label": str(x["gold"])}),
    "winogrande": ("winogrande/default.yaml", lambda x: {k: x[k] for k in ("sentence", "option1", "option2")} | {"answer": str(x["gold"] + 1)}),
}


def write_lines(path, lines):
    with open(path, "w", encoding="utf-8") as f:
        f.writelines(json.dumps(line) + "\n" for line in lines)


def write_task(out, name, include, splits):
    """splits: lines by the name of the split. What lm-eval's file says of other splits must not be looked for."""
    files = {}
    for split, lines in splits.items():
        files[split] = os.path.join(os.path.abspath(out), f"{name}.{split}.jsonl")
        write_lines(files[split], lines)
    missing = "".join(f"{split}_split: null\n" for split in ("training", "validation", "test") if split not in splits)
    with open(os.path.join(out, name + ".yaml"), "w") as f:
        f.write(f"include: {os.path.join(lm_eval_tasks(), include)}\ntask: {name}\ndataset_path: json\ndataset_name: null\n"
                f"dataset_kwargs: {{data_files: {json.dumps(files)}}}\n{missing}")


def write_mmlu(out, lines):
    by_subject = {}
    for x in lines:
        splits = by_subject.setdefault(x["subject"], {"dev": [], "test": []})
        splits[x["split"]].append({"question": x["question"], "subject": x["subject"], "choices": x["choices"], "answer": x["gold"]})
    for subject, splits in by_subject.items():
        write_task(out, "mmlu_" + subject, f"mmlu/default/mmlu_{subject}.yaml", splits)
    group = {"group": "mmlu", "task": ["mmlu_" + subject for subject in by_subject], "aggregate_metric_list": [{"metric": "acc", "weight_by_size": True}],
             "metadata": {"version": 2}}
    with open(os.path.join(out, "_mmlu.yaml"), "w") as f:
        json.dump(group, f)  # JSON is YAML


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("data")
    arguments.add_argument("out")
    arguments.add_argument("--text")
    a = arguments.parse_args()
    os.makedirs(a.out, exist_ok=True)
    names = []
    for name, (include, line_of) in TASKS.items():
        lines = read(a.data, name)
        if lines is None:
            continue
        # As lm-eval: a task is scored on its test split, or on validation if it has none. Splits keep their names.
        splits = {}
        for x in lines:
            splits.setdefault(x["split"], []).append(line_of(x))
        write_task(a.out, name, include, splits)
        names.append(name)
    mmlu = read(a.data, "mmlu")
    if mmlu is not None:
        write_mmlu(a.out, mmlu)
        names.append("mmlu")
    if a.text is not None:
        with open(a.text, encoding="utf-8") as f:
            write_task(a.out, "wikitext", "wikitext/wikitext.yaml", {"test": [{"page": json.loads(line)["text"]} for line in f]})
        names.append("wikitext")
    print(",".join(names))


if __name__ == "__main__":
    main()
