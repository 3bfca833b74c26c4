"""Called by crash_points.sh: see there. A point is a call that changes a file; at each the process dies, or the power fails."""
import glob, hashlib, json, os, re, shutil, subprocess, sys, time
import power_cut

everything = sys.argv[1] == "all"
remla, faulty = os.environ["REMLA"], os.environ["FAULTY_FILES"]
here = os.getcwd()
# Exact sums: whatever 2 ranks have begun, 1 rank ends with the same bits, and starts much faster.
options = ["train", "config.yaml", "train.steps=6", "checkpoint.every=2", "checkpoint.keep=2", "val.every=3", "parallel.sum=exact"]
run = f"{here}/run"
last = "step-00000006"


def command(ranks, out="run"):
    launcher = ["mpirun", "-q", "--oversubscribe", "--bind-to", "none", "-n", str(ranks)] if ranks > 1 else []
    return launcher + [remla] + options + [f"train.out={out}"]


def start(ranks, out="run", **faults):
    """The exit code, and what it says on standard error."""
    env = dict(os.environ)
    preload = []
    if faults:
        env.update({f"FAULT_{name.upper()}": str(value) for name, value in faults.items()}, FAULT_UNDER=f"{here}/{out}")
        preload = ["env", f"LD_PRELOAD={faulty}"]
    line = command(ranks, out)
    at = line.index(remla)
    done = subprocess.run(line[:at] + preload + line[at:], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace")
    return done.returncode, done.stderr


def curve(out):
    """What the run has computed, without what depends on the clock."""
    keys = ("step", "loss", "grad_norm", "lr", "tokens", "val_loss")
    with open(f"{out}/metrics.jsonl") as f:
        rows = [json.loads(line) for line in f]
    return [[(k, row[k]) for k in keys if k in row] for row in rows if "loss" in row or "val_loss" in row]


def content(out):
    """Hashes of the last checkpoint's weights, states and place in the data. How many ranks wrote it is not compared."""
    folder, found = f"{out}/checkpoints/{last}", {}
    for path in sorted(glob.glob(f"{folder}/*")):
        name = os.path.basename(path)
        with open(path, "rb") as f:
            data = f.read()
        if name == "state.json":
            state = json.loads(data)
            data = repr([(k, state[k]) for k in sorted(state) if k not in ("ranks", "threads")]).encode()
        if name.endswith(".safetensors") or name in ("config.json", "state.json"):
            found[name] = hashlib.sha256(data).hexdigest()
    return found


def fail(where, what):
    kept = f"{os.environ.get('CRASH_KEEP', here)}/failed"
    shutil.copytree(run, kept, dirs_exist_ok=True)
    sys.exit(f"FAILED: {where}: {what}")


remarks = {}


def check(where, ranks=1):
    """The same command goes on and ends as if nothing had happened."""
    code, said = start(ranks)
    if code:
        fail(where, f"exit code {code}: {said}")
    for line in said.splitlines():
        line = re.sub(r"\d+", "N", line)
        remarks.setdefault(line, where)
    if content("run") not in whole:
        fail(where, "the last checkpoint has other bytes")
    if curve("run") != losses:
        fail(where, "the losses differ")
    left = sorted(os.listdir("run/checkpoints"))
    if left != kept:
        fail(where, f"left over: {left}")
    parts = [p for p in glob.glob("run/**", recursive=True) if p.endswith(".part")]
    if parts:
        fail(where, f"left over: {parts}")


# ---- the runs that nothing happens to, and how many calls they make
counts, whole = {}, []
for ranks in (1, 2):
    out = f"whole{ranks}"
    for calls in ("", "write,pwrite"):
        shutil.rmtree(out, ignore_errors=True)
        code, said = start(ranks, out, count=f"{here}/count", **({"calls": calls} if calls else {}))
        if code:
            sys.exit(f"FAILED: {ranks} ranks: exit code {code}: {said}")
        for path in glob.glob("count.*"):
            with open(path) as f:
                counts[ranks, int(path.split(".")[-1]), calls] = int(f.read())
            os.remove(path)
    whole.append(content(out))
losses, kept = curve("whole1"), sorted(os.listdir("whole1/checkpoints"))
assert curve("whole2") == losses, "1 and 2 ranks differ"

# ---- a process that dies
dead = 0
begun = time.time()
for (ranks, rank, calls), n in sorted(counts.items()):
    hows = ("half",) if calls else ("kill", "done") if ranks == 1 else ("kill", "done", "job")
    # Two threads write, so the next run may make a few calls more.
    points = range(1, n + 5) if everything else range(3 + rank, n, max(1, n // (2 if ranks > 1 else 8)))
    for k in points:
        for how in hows if ranks == 1 and everything else (hows[k % len(hows)],):
            shutil.rmtree(run, ignore_errors=True)
            if os.path.exists("said"):
                os.remove("said")
            faults = {"rank": rank, "at": k, "do": how, "said": f"{here}/said"}
            code, said = start(ranks, **faults, **({"calls": calls} if calls else {}))
            hit = open("said").read().split() if os.path.exists("said") else []
            where = f"{ranks} ranks, rank {rank}, {how} at call {k} ({' '.join(hit[1:])})"
            if not hit and code:
                fail(where, f"nothing was hit, but the exit code is {code}: {said}")
            # Every tenth of two ranks goes on with two.
            check(where, ranks if k % 10 == 0 else 1)
            dead += bool(hit)
print(f"{dead} points at which a process died: calls {', '.join(f'{n} of rank {r} of {s}' for (s, r, c), n in sorted(counts.items()) if not c)}; {time.time() - begun:.0f} s")
sys.stdout.flush()

# ---- a power cut
begun = time.time()
states = points = 0
seen = {}
for ranks in (1, 2):
    shutil.rmtree(run, ignore_errors=True)
    code, said = start(ranks, log=f"{here}/log{ranks}")
    if code:
        sys.exit(f"FAILED: {ranks} ranks with a record: exit code {code}: {said}")
    calls = power_cut.read_record(f"log{ranks}")
    disk = power_cut.Disk(run)
    for k, call in enumerate(calls, 1):
        disk.call(*call)
        if not everything and k % (len(calls) // 20):
            continue
        points += 1
        for n, image in enumerate(disk.images(f"{ranks} {k}", 6 if everything else 2)):
            digest = hashlib.sha256(repr(sorted(image.items(), key=lambda i: i[0])).encode()).digest()
            states += 1
            if digest in seen:
                continue
            seen[digest] = True
            power_cut.write_image(run, image)
            check(f"power cut after call {k} of {ranks} ranks ({call[0]} {call[2]}), image {n}", ranks if everything and len(seen) % 50 == 0 else 1)
print(f"{points} points at which the power failed: {states} states of the disk, of which {len(seen)} differ; {time.time() - begun:.0f} s")
for line, where in remarks.items():
    print(f"said: {line}  [first: {where}]")
print(f"crash points: {dead + points} points, {dead + states} states, all go on to the same bits")
