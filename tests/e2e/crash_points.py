"""Called by crash_points.sh: see there. A point is a call that changes a file; at each the process dies, or the power fails."""
import glob, hashlib, json, os, re, shutil, subprocess, sys, time
import power_cut

everything = sys.argv[1] == "all"
parts = sys.argv[2:] or ["kills", "cuts"]
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


# ---- scenes: what a run finds when it starts
def stage(scene):
    shutil.rmtree(run, ignore_errors=True)
    if scene == "damaged":
        shutil.copytree("damaged", run)


def prepare():
    """A run after step 4 of which the last checkpoint has lost a byte: it goes on from step 2, and its step 4 replaces that one."""
    subprocess.run(command(1, "damaged") + ["train.stop_after=4"], stdout=subprocess.DEVNULL, check=True)
    with open(glob.glob("damaged/checkpoints/step-00000004/optim-*")[0], "r+b") as f:
        f.seek(-1, 2)
        f.truncate()


# ---- the runs that nothing happens to, and how many calls they make
prepare()
counts, whole, losses, kept = {}, [], None, None
for scene, ranks in (("new", 1), ("new", 2), ("damaged", 1)):
    for calls in ("", "write,pwrite"):
        stage(scene)
        code, said = start(ranks, count=f"{here}/count", **({"calls": calls} if calls else {}))
        if code:
            sys.exit(f"FAILED: {scene}, {ranks} ranks: exit code {code}: {said}")
        for path in glob.glob("count.*"):
            with open(path) as f:
                counts[scene, ranks, int(path.split(".")[-1]), calls] = int(f.read())
            os.remove(path)
    whole.append(content("run"))
    losses, kept = losses or curve("run"), kept or sorted(os.listdir("run/checkpoints"))
    assert curve("run") == losses, f"{scene}, {ranks} ranks: other losses"
assert whole[2] == whole[0], "the run with a replaced checkpoint differs"

# ---- a process that dies
dead = 0
begun = time.time()
for (scene, ranks, rank, calls), n in sorted(counts.items()) if "kills" in parts else []:
    # Two threads write, so the next run may make a few calls more. Two ranks start slowly; what is left when both die is looked at below, at every call.
    every = 1 if everything and ranks == 1 and not calls else 4 if everything else n // (2 if ranks > 1 else 5)
    for k in range(1 if everything else 3 + rank, n + 5 if everything else n, max(1, every)):
        hows = ["half"] if calls else ["kill", "done"] if k % 5 == 0 else ["kill"]
        if ranks > 1:
            hows = hows if calls else [("kill", "done", "job")[k // 4 % 3]]
        for how in hows:
            stage(scene)
            if os.path.exists("said"):
                os.remove("said")
            faults = {"rank": rank, "at": k, "do": how, "said": f"{here}/said"}
            code, said = start(ranks, **faults, **({"calls": calls} if calls else {}))
            hit = open("said").read().split() if os.path.exists("said") else []
            where = f"{scene}, {ranks} ranks, rank {rank}, {how} at call {k} ({' '.join(hit[1:])})"
            if not hit and code:
                fail(where, f"nothing was hit, but the exit code is {code}: {said}")
            # Every tenth of two ranks goes on with two.
            check(where, ranks if k % 10 == 0 else 1)
            dead += bool(hit)
print(f"{dead} points at which a process died: calls {', '.join(f'{n} of rank {r} of {s} ({scene})' for (scene, s, r, c), n in sorted(counts.items()) if not c)}; {time.time() - begun:.0f} s")
sys.stdout.flush()

# ---- a power cut
begun = time.time()
states = points = 0
seen = {}
for scene, ranks in (("new", 1), ("new", 2), ("damaged", 1)) if "cuts" in parts else ():
    stage(scene)
    disk = power_cut.Disk(run)
    code, said = start(ranks, log=f"{here}/log-{scene}{ranks}")
    if code:
        sys.exit(f"FAILED: {scene}, {ranks} ranks with a record: exit code {code}: {said}")
    calls = power_cut.read_record(f"log-{scene}{ranks}")
    for k, call in enumerate(calls, 1):
        disk.call(*call)
        if not everything and k % (len(calls) // 12):
            continue
        points += 1
        for n, image in enumerate(disk.images(f"{scene} {ranks} {k}", 2 if everything else 1)):
            digest = hashlib.sha256(repr(sorted(image.items(), key=lambda i: i[0])).encode()).digest()
            states += 1
            if digest in seen:
                continue
            seen[digest] = True
            power_cut.write_image(run, image)
            check(f"{scene}, power cut after call {k} of {ranks} ranks ({call[0]} {call[2]}), image {n}", ranks if everything and len(seen) % 50 == 0 else 1)
    print(f"power cuts, {scene}, {ranks} ranks: {points} points, {states} states, {len(seen)} differ; {time.time() - begun:.0f} s", flush=True)
print(f"{points} points at which the power failed: {states} states of the disk, of which {len(seen)} differ; {time.time() - begun:.0f} s")
for line, where in remarks.items():
    print(f"said: {line}  [first: {where}]")
print(f"crash points: {dead + points} points, {dead + states} states, all go on to the same bits")
