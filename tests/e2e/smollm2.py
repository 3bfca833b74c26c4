"""A real model: SmolLM2-135M-Instruct as scripts/demo.sh makes it, and TransMLA's conversion of it (../shared/fixtures/README.md, smollm2/).
usage: smollm2.py REMLA FIXTURES MODEL. Exit 77: the demo has not been run here."""
import json
import os
import subprocess
import sys
import tempfile

# Loss on documentation and on fortunes: what transformers gives for the original, and for what TransMLA's own code converts it to.
ORIGINAL, ORIGINAL_LIMIT = {"docs": 3.2198, "other": 3.9589}, 2e-4
# What conversion layer by layer must not be worse than (docs/CONVERSION.md): FreqFold, layout (the stock one has latent norms), losses.
BETTER = [("4", "transmla", {"docs": 3.609, "other": 4.790}), ("4", "deepseek", {"docs": 3.617, "other": 4.806}),
          ("auto", "transmla", {"docs": 3.61, "other": 4.78}), ("auto", "deepseek", {"docs": 3.63, "other": 4.80})]
STOCK_LAYOUT_COSTS = 1.01 # at most, against layout transmla
CONVERTED, CONVERTED_LIMIT = {"docs": 3.9848, "other": 5.2704}, 4e-3


def loss_of(remla, model, fixtures, kind):
    command = [remla, "eval", model, f"data.val={fixtures}/{kind}.ds", "eval.seq_len=512", "data.document_mask=false", "--json"]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["loss"]


def close(remla, model, fixtures, expected, limit):
    good = True
    for kind, loss in expected.items():
        found = loss_of(remla, model, fixtures, kind)
        error = abs(found / loss - 1)
        print(f"{model} {kind}: {found:.4f}, expected {loss:.4f}, relative difference {error:.1e} (limit {limit:g})")
        good &= error <= limit
    return good


def not_worse(model, losses, limits):
    for kind, limit in limits.items():
        print(f"{model} {kind}: {losses[kind]:.4f}, at most {limit:.4f}")
    return all(losses[kind] <= limit for kind, limit in limits.items())


def convert(remla, model, target, fixtures, *more):
    subprocess.run([remla, "convert", model, target, f"calib.data={fixtures}/calib.ds", "calib.seq_len=256", "convert.qk_rope_head_dim=32", "convert.kv_lora_rank=96",
                    "convert.dtype=f32", *more], check=True, stdout=subprocess.DEVNULL)
    return target


def main(remla, fixtures, model):
    for path in (fixtures, model):
        if not os.path.isdir(path):
            print(f"skipped: there is no {path}")
            return 77
    good = close(remla, model, fixtures, ORIGINAL, ORIGINAL_LIMIT)
    with tempfile.TemporaryDirectory() as folder:
        transmla = convert(remla, model, os.path.join(folder, "transmla"), fixtures, "convert.balance=transmla", "convert.freqfold=4")
        good &= close(remla, transmla, fixtures, CONVERTED, CONVERTED_LIMIT)
        losses = {}
        for freqfold, layout, limits in BETTER:
            target = os.path.join(folder, f"{layout}-layout-{freqfold}")
            better = convert(remla, model, target, fixtures, f"convert.layout={layout}", f"convert.freqfold={freqfold}")
            losses[layout] = {kind: loss_of(remla, better, fixtures, kind) for kind in limits}
            good &= not_worse(better, losses[layout], limits)
        good &= not_worse("layout deepseek", losses["deepseek"], {kind: STOCK_LAYOUT_COSTS * loss for kind, loss in losses["transmla"].items()})
    return 0 if good else 1


sys.exit(main(*sys.argv[1:]))
