"""What `remla convert` writes by default loads in stock transformers (no remote code) with exactly its keys, and its loss in float32 is that of `remla eval`:
of every fixture, of a model of Qwen2.5's widths with random weights and biases, and of their checkpoints after five
steps of training, also when exported. usage: stock_transformers.py REMLA FIXTURES, or stock_transformers.py REMLA --model
FOLDER SHARD SEQ_LEN for a model of your own. Exit 77: torch, transformers or the fixtures are missing."""
import glob
import json
import os
import subprocess
import sys
import tempfile

LIMIT = 1e-5


def call(*command):
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"exit code {result.returncode}: {' '.join(command)}\n{result.stderr}")
    return result.stdout


def remla_loss(remla, model, shard, seq_len):
    return json.loads(call(remla, "eval", model, f"data.val={shard}", f"eval.seq_len={seq_len}", "data.document_mask=false", "device.kind=cpu", "--json"))["loss"]


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


def compare(remla, what, model, shard, seq_len):
    ours, theirs = remla_loss(remla, model, shard, seq_len), stock_loss(model, shard, seq_len)
    difference = abs(ours / theirs - 1)
    print(f"{what}: remla {ours:.8f}, transformers {theirs:.8f}, relative difference {difference:.1e}, limit {LIMIT:g}")
    return difference <= LIMIT


def random_qwen(folder):
    """Attention of Qwen2.5-0.5B's widths, two layers, the vocabulary of the fixtures."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(1)
    model = Qwen2ForCausalLM(Qwen2Config(
        vocab_size=264, hidden_size=896, num_attention_heads=14, num_key_value_heads=2, intermediate_size=1216, num_hidden_layers=2, rope_theta=1e6,
        tie_word_embeddings=True, max_position_embeddings=32768, eos_token_id=256, bos_token_id=None)).float()
    with torch.no_grad():
        for key, weight in model.named_parameters():
            if key.endswith("bias"):
                weight.normal_(0, 5 if "k_proj" in key else 0.5) # as large as Qwen's are, against what the weights make of random text
    model.save_pretrained(folder)


def compare_converted(remla, fixtures, source, name, spec, seq_len, folder):
    converted, config, run, exported = (os.path.join(folder, part) for part in ("mla", "run.yaml", "run", "exported"))
    call(remla, "convert", source, converted, f"calib.data={fixtures}/calib.ds", f"calib.seq_len={seq_len}",
         f"convert.kv_lora_rank={spec['rank']}", f"convert.qk_rope_head_dim={spec['rope']}", f"convert.q_lora_rank={spec.get('q_rank', 0)}")
    with open(config, "w") as f:
        f.write(f"model: {{ path: {converted} }}\n")
    call(remla, "train", config, f"data.train={fixtures}/train.ds", f"train.out={run}", "train.steps=5", f"train.seq_len={seq_len}",
         f"train.batch_tokens={8 * seq_len}", "optim.lr=1e-3", "device.kind=cpu")
    good = compare(remla, name, converted, f"{fixtures}/val.ds", seq_len)
    good &= compare(remla, f"{name}, 5 steps", f"{run}/checkpoints/step-00000005", f"{fixtures}/val.ds", seq_len)
    call(remla, "export", run, exported, "export.dtype=bf16")
    return compare(remla, f"{name}, 5 steps, exported in bf16", exported, f"{fixtures}/val.ds", seq_len) and good


def main():
    try:
        import torch  # noqa: F401
        import transformers.utils.logging
    except ImportError as missing:
        print(f"skipped: {missing}")
        return 77
    transformers.utils.logging.disable_progress_bar()
    remla = sys.argv[1]
    if sys.argv[2] == "--model":
        model, shard = sys.argv[3:5]
        return 0 if compare(remla, model, model, shard, int(sys.argv[5])) else 1
    fixtures = sys.argv[2]
    found = sorted(glob.glob(f"{fixtures}/*/expected.json"))
    if not found:
        print(f"skipped: there are no fixtures in {fixtures}")
        return 77
    with open(f"{fixtures}/fixtures.json") as f:
        seq_len = json.load(f)["seq_len"]
    good = True
    for path in found:
        with open(path) as f:
            spec = json.load(f)["spec"]
        with tempfile.TemporaryDirectory() as folder:
            name = os.path.basename(os.path.dirname(path))
            good &= compare_converted(remla, fixtures, f"{fixtures}/{name}/gqa", name, spec, seq_len, folder)
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "gqa")
        random_qwen(source)
        good &= compare_converted(remla, fixtures, source, "Qwen2.5-0.5B's attention", {"rank": 96, "rope": 32}, seq_len, folder)
    return 0 if good else 1


sys.exit(main())
