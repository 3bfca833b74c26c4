"""A model converted with convert.layout=deepseek loads in stock transformers (no remote code) with exactly its keys, and its loss in float32 is that of
`remla eval`. usage: stock_transformers.py REMLA FIXTURES, or stock_transformers.py REMLA --model FOLDER SHARD SEQ_LEN for a model of your own.
Exit 77: torch or transformers is missing."""
import json
import os
import subprocess
import sys
import tempfile

LIMIT = 1e-5


def remla_loss(remla, model, shard, seq_len):
    command = [remla, "eval", model, f"data.val={shard}", f"train.seq_len={seq_len}", "data.document_mask=false", "--json"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(result.stdout)["loss"]


def stock_loss(model, shard, seq_len):
    import numpy
    import torch
    from transformers import AutoModelForCausalLM

    stock, info = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32, output_loading_info=True)
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not info[kind], f"{kind}: {info[kind]}"
    assert type(stock).__name__ == "DeepseekV3ForCausalLM", type(stock).__name__
    with open(shard + ".metadata") as f:
        width = int(f.readline().split("|")[1])
    tokens = torch.from_numpy(numpy.fromfile(shard, dtype={2: "<u2", 4: "<u4"}[width]).astype("int64"))
    windows = (len(tokens) - 1) // seq_len
    total = 0.0
    with torch.no_grad():
        for i in range(windows):
            inputs = tokens[i * seq_len : (i + 1) * seq_len]
            targets = tokens[i * seq_len + 1 : (i + 1) * seq_len + 1]
            logits = stock(inputs[None]).logits[0].double()
            total += torch.nn.functional.cross_entropy(logits, targets, reduction="sum").item()
    return total / (windows * seq_len)


def compare(remla, model, shard, seq_len):
    ours, theirs = remla_loss(remla, model, shard, seq_len), stock_loss(model, shard, seq_len)
    print(f"{model}: remla {ours:.8f}, transformers {theirs:.8f}, relative difference {abs(ours / theirs - 1):.1e}")
    return abs(ours / theirs - 1) <= LIMIT


def main():
    try:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as missing:
        print(f"skipped: {missing}")
        return 77
    remla = sys.argv[1]
    if sys.argv[2] == "--model":
        return 0 if compare(remla, sys.argv[3], sys.argv[4], int(sys.argv[5])) else 1
    fixtures = sys.argv[2]
    if not os.path.isdir(fixtures):
        print(f"skipped: {fixtures} is not there")
        return 77
    with tempfile.TemporaryDirectory() as folder:
        target = os.path.join(folder, "mla")
        subprocess.run([remla, "convert", f"{fixtures}/llama/gqa", target, f"calib.data={fixtures}/calib.ds", "calib.seq_len=64", "convert.qk_rope_head_dim=8",
                        "convert.kv_lora_rank=20", "convert.layout=deepseek"], check=True, stdout=subprocess.DEVNULL)
        return 0 if compare(remla, target, f"{fixtures}/val.ds", 64) else 1


sys.exit(main())
