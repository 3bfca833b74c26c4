"""The comparison of bench/compare_lm_eval.sh. usage: compare_lm_eval.py MODEL DATA WORK TASK:LIMIT:SHOTS..., in its environment."""
import gzip
import importlib.metadata
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))


def say(text):
    print("==> " + text, file=sys.stderr, flush=True)


class Failed(Exception):
    pass


def limit_memory():
    """A batch that is too large fails by itself, rather than that the kernel ends something."""
    available = int(re.search(r"MemAvailable:\s*(\d+)", open("/proc/meminfo").read())[1]) * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (available * 9 // 10, available * 9 // 10))


def call(command):
    """Its standard output, and the seconds that all of it took."""
    start = time.perf_counter()
    result = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit_memory)
    if result.returncode:
        raise Failed(f"exit code {result.returncode}: {' '.join(command)}\n{result.stderr}")
    return result.stdout, time.perf_counter() - start


def lines_of(data, task):
    for name, opener in ((task + ".jsonl", open), (task + ".jsonl.gz", gzip.open)):
        if os.path.exists(os.path.join(data, name)):
            with opener(os.path.join(data, name), "rt", encoding="utf-8") as f:
                return f.readlines()
    sys.exit(f"{data} has no {task}.jsonl or {task}.jsonl.gz")


def lay_out(data, folder, tasks, subjects):
    """The questions for both, of MMLU the first subjects alone: as many of each as in a whole evaluation, rather than one of every subject."""
    os.makedirs(folder)
    for task in tasks:
        lines = lines_of(data, task)
        if task == "mmlu":
            first = list(dict.fromkeys(json.loads(line)["subject"] for line in lines))[:subjects]
            lines = [line for line in lines if json.loads(line)["subject"] in first]
        with open(os.path.join(folder, task + ".jsonl"), "w", encoding="utf-8") as f:
            f.writelines(lines)
    yaml = folder + "-lm-eval"
    call([sys.executable, os.path.join(HERE, "../scripts/lm_eval_tasks.py"), folder, yaml])
    return yaml


def lm_eval(model, yaml, task, limit, shots, batch):
    command = ["--model", "hf", "--model_args", f"pretrained={model},dtype=float32", "--device", "cpu", "--batch_size", str(batch), "--include_path", yaml,
               "--tasks", task, "--num_fewshot", str(shots), "--limit", str(limit)]
    output, _ = call([sys.executable, os.path.join(HERE, "peer_lm_eval.py"), *command])
    found = json.loads(output.splitlines()[-1])
    return found | {"command": "lm_eval " + " ".join(command)}


def remla(model, data, task, limit, shots):
    command = [os.environ["REMLA"], "eval", model, "--tasks", task, "--style", "lm-eval", "--limit", str(limit), *(["--shots", str(shots)] if shots else []),
               f"eval.data={data}", "device.kind=cpu", "--json"]
    output, whole = call(command)
    found = json.loads(output)
    assert set(found["tasks"]) == {task}, found
    return found["tasks"][task] | {"seconds": found["seconds"], "whole": whole, "command": " ".join(["remla", *command[1:]])}


def best_batch(model, yaml, task, limit, shots):
    speeds = {}
    for batch in os.environ["BATCHES"].split():
        try:
            found = lm_eval(model, yaml, task, max(1, limit // 4), shots, batch)
        except Failed as failed:
            say(f"{task}: lm-eval with batch size {batch} fails: {str(failed).splitlines()[-1]}")
            continue
        speeds[batch] = found["questions"] / found["seconds"]
        say(f"{task}: lm-eval with batch size {batch}: {speeds[batch]:.3f} questions/s")
    return max(speeds, key=speeds.get)


def agree(task, ours, theirs):
    """One question may differ: logarithms of sums in float32 (lm-eval) and in double move a log-probability by up to 1e-3."""
    good = True
    for metric, value in theirs["results"][task].items():
        questions = round(abs(value - ours[metric]) * ours["n"])
        say(f"{task}: {metric} {ours[metric]:.4f}, lm-eval {value:.4f}")
        good &= questions <= 1
    return good and ours["n"] == theirs["questions"]


def main(model, data, work, *wanted):
    wanted = [(task, int(limit), int(shots)) for task, limit, shots in (text.split(":") for text in wanted)]
    folder = os.path.join(work, "data")
    yaml = lay_out(data, folder, [task for task, _, _ in wanted], int(os.environ["SUBJECTS"]))
    rows, commands, good = [], [], True
    for task, limit, shots in wanted:
        batch = best_batch(model, yaml, task, limit, shots)
        pairs = [(remla(model, folder, task, limit, shots), lm_eval(model, yaml, task, limit, shots, batch)) for _ in range(int(os.environ["ROUNDS"]))]
        good &= all([agree(task, *pair) for pair in pairs])
        ours, theirs = pairs[0]
        n = ours["n"]
        our_seconds, whole, their_seconds = (statistics.median(values) for values in zip(*((a["seconds"], a["whole"], b["seconds"]) for a, b in pairs)))
        metrics = theirs["results"][task]
        rows.append([task, shots, n, f"{n / our_seconds:.4g}", f"{n / their_seconds:.4g}", batch, f"{their_seconds / our_seconds:.3g}", f"{n / whole:.4g}",
                     f"{their_seconds / whole:.3g}", f"{ours['acc']:.4f}", f"{metrics['acc']:.4f}",
                     "" if ours["acc_norm"] is None else f"{ours['acc_norm']:.4f}", f"{metrics['acc_norm']:.4f}" if "acc_norm" in metrics else ""])
        commands += [f"# {ours['command']}", f"# {theirs['command']}"]
        say(f"{task}: {rows[-1][3]} questions/s, lm-eval {rows[-1][4]}: ratio {rows[-1][6]}")
    cpu = re.search(r"model name\s*: (.*)", open("/proc/cpuinfo").read())
    versions = ", ".join(f"{package} {importlib.metadata.version(package)}" for package in ("lm-eval", "torch", "transformers"))
    print(f"# {cpu[1] if cpu else 'unknown CPU'}, {os.environ['OMP_NUM_THREADS']} threads; {versions}; medians of {os.environ['ROUNDS']} rounds")
    print("# seconds of scoring: start-up, the model's loading and the reading of questions are left out on both sides. whole_*: remla with all of these")
    print("\n".join(commands).replace(work, "WORK"))
    print("task,shots,questions,remla_q_s,lm_eval_q_s,lm_eval_batch_size,ratio,whole_remla_q_s,whole_ratio,acc,lm_eval_acc,acc_norm,lm_eval_acc_norm")
    for row in rows:
        print(",".join(map(str, row)))
    return 0 if good else 1


sys.exit(main(*sys.argv[1:]))
