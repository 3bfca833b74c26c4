#!/usr/bin/env bash
# What a user can get wrong, each in a line: the exit code, what the one sentence on standard error must contain, and the command.
# Nothing may be left half-written and no input may change. All cases are tried, then the script fails if one failed.
. "$(dirname "$0")/common.sh"
failed=0

# bad CODE 'PART|PART...' COMMAND...
bad() {
    local code=$1 parts=$2 got=0 part problem=""
    shift 2
    "$@" >out 2>err </dev/null || got=$?
    [ "$got" = "$code" ] || problem+=" exit code $got instead of $code;"
    [ "$(wc -l <err)" = 1 ] || problem+=" $(wc -l <err) lines on standard error;"
    grep -q '^remla' err || problem+=" it does not begin with remla;"
    while IFS= read -r part; do
        grep -qF -- "$part" err || problem+=" it does not say \"$part\";"
    done <<<"${parts//|/$'\n'}"
    # A run folder may have been begun; what is in it must be whole. Training data that turn bad under way (6) leave a checkpoint.
    if [ -n "$(find . -name '*.tmp' -o -name '*.trash' -o -name '*.old' -o -name '*.part')" ]; then problem+=" left half-written: $(find . -name '*.tmp' -o -name '*.part');"; fi
    if [ "$code" != 6 ] && find . -path './out-*/checkpoints/*' | grep -q .; then problem+=" a checkpoint was written;"; fi
    rm -rf out-*
    [ -z "$problem" ] && return
    failed=$((failed + 1))
    { echo "FAILED:$problem"; echo "    $*"; sed 's/^/    > /' err; } >&2
}

run=("$REMLA" train)
eval=("$REMLA" eval)
on=(data.val="$golden/val.ds" eval.seq_len=32)
write_config config.yaml "$golden/gqa"
short=(train.steps=2 train.out=out-run)

# bad_model NAME [SED-COMMAND]: a copy of the GQA model with config.json edited.
bad_model() {
    mkdir "$1"
    cp "$golden"/gqa/* "$1"
    [ $# = 1 ] || sed -i "$2" "$1/config.json"
    [ $# = 1 ] || ! cmp -s "$1/config.json" "$golden/gqa/config.json" || fail "$1: the edit changed nothing"
}

# bad_shard NAME: a copy of the training shard.
bad_shard() {
    local suffix
    for suffix in "" .index .metadata; do cp "$golden/train.ds$suffix" "$1.ds$suffix"; done
}

# write_bytes FILE PLACE ESCAPES
write_bytes() { printf '%b' "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none; }

# ---- weights
bad_model truncated
truncate -s 30000 truncated/model.safetensors
bad 3 'truncated/model.safetensors' "${eval[@]}" truncated "${on[@]}"
bad 3 'truncated/model.safetensors' "${run[@]}" config.yaml "${short[@]}" model.path=truncated
bad_model stub
truncate -s 5 stub/model.safetensors
bad 3 'stub/model.safetensors|5 bytes' "${eval[@]}" stub "${on[@]}"
bad_model absurd
write_bytes absurd/model.safetensors 0 '\xff\xff\xff\xff\xff\xff\xff\x7f'
bad 3 'absurd/model.safetensors|header|9223372036854775807' "${eval[@]}" absurd "${on[@]}"
bad_model long_header
write_bytes long_header/model.safetensors 0 '\x00\x00\x01\x00'
bad 3 'long_header/model.safetensors|truncated' "${eval[@]}" long_header "${on[@]}"
bad_model garbled
write_bytes garbled/model.safetensors 8 'no json'
bad 3 'garbled/model.safetensors' "${eval[@]}" garbled "${on[@]}"
bad_model shape 's/"intermediate_size": 48/"intermediate_size": 64/'
bad 3 'shape/model.safetensors|mlp.|(48,32)|(64,32)' "${eval[@]}" shape "${on[@]}"
bad_model missing 's/"num_hidden_layers": 2/"num_hidden_layers": 3/'
bad 3 "missing/model.safetensors|'model.layers.2." "${eval[@]}" missing "${on[@]}"
bad_model extra 's/"num_hidden_layers": 2/"num_hidden_layers": 1/'
bad 3 "extra/model.safetensors|'model.layers.1." "${eval[@]}" extra "${on[@]}"
bad_model renamed
sed -i 's/model.norm.weight/model.norm.weighs/' renamed/model.safetensors
bad 3 "renamed/model.safetensors|'model.norm.weight'|missing" "${eval[@]}" renamed "${on[@]}"
bad_model nan
write_bytes nan/model.safetensors $(($(stat -c %s nan/model.safetensors) - 2)) '\x00\x7e'
bad 3 "nan/model.safetensors|'model.norm.weight'|element 31|not a number" "${eval[@]}" nan "${on[@]}"
bad_model far # its last norm weight is 65504, the largest half: the loss has no exponential
write_bytes far/model.safetensors $(($(stat -c %s far/model.safetensors) - 2)) '\xff\x7b'
bad 7 "golden/val.ds|the model's loss is|its perplexity is not a number" "${eval[@]}" far "${on[@]}"
bad_model dtype
sed -i 's/"F16"/"I16"/' dtype/model.safetensors
bad 3 'dtype/model.safetensors|I16' "${eval[@]}" dtype "${on[@]}"
bad_model weightless
rm weightless/model.safetensors
bad 3 'weightless|model.safetensors' "${eval[@]}" weightless "${on[@]}"

# ---- config.json
bad_model keyless '/hidden_size/d'
bad 3 'keyless/config.json|hidden_size|missing' "${eval[@]}" keyless "${on[@]}"
bad_model yarn 's/"rope_scaling": null/"rope_scaling": {"rope_type": "yarn", "factor": 4.0}/'
bad 3 'yarn/config.json|rope_scaling|"yarn"' "${eval[@]}" yarn "${on[@]}"
bad_model gelu 's/"silu"/"gelu"/'
bad 3 'gelu/config.json|hidden_act|"gelu"|"silu"' "${eval[@]}" gelu "${on[@]}"
bad_model unknown 's/"hidden_act"/"logit_softcapping": 30.0, "hidden_act"/'
bad 3 "unknown/config.json|logit_softcapping" "${eval[@]}" unknown "${on[@]}"
bad_model architecture 's/LlamaForCausalLM/MixtralForCausalLM/'
bad 3 'architecture/config.json|MixtralForCausalLM' "${eval[@]}" architecture "${on[@]}"
bad_model broken 's/"vocab_size": 96,/"vocab_size": 96/'
bad 3 'broken/config.json|line' "${eval[@]}" broken "${on[@]}"
bad_model text 's/"hidden_size": 32/"hidden_size": "32"/'
bad 3 'text/config.json|hidden_size|"32"' "${eval[@]}" text "${on[@]}"
bad_model huge 's/"vocab_size": 96/"vocab_size": 9000000000000000000/'
bad 3 'huge/config.json|vocab_size' "${eval[@]}" huge "${on[@]}"
bad_model nothing
: >nothing/config.json
bad 3 'nothing/config.json' "${eval[@]}" nothing "${on[@]}"
bad 3 'nowhere: there is no such folder' "${eval[@]}" nowhere "${on[@]}"
bad 3 'config.yaml: is a file, expected a model folder' "${eval[@]}" config.yaml "${on[@]}"
bad_model quantised 's/"hidden_act"/"quantization_config": {"quant_method": "gptq", "bits": 4}, "hidden_act"/'
bad 3 'quantised/config.json|quantised (gptq)|the checkpoint that this one was made from' "${eval[@]}" quantised "${on[@]}"

# ---- what is no model folder, for every command that takes one
no_model() { # PATH WORDS
    [ "$1" = run ] || bad 3 "$1: $2" "$REMLA" inspect "$1" # which tells a run's story
    bad 3 "$1: $2" "${eval[@]}" "$1" "${on[@]}"
    bad 3 "$1: $2" "$REMLA" convert "$1" out-mla calib.data="$golden/train.ds"
    bad 3 "$1: $2" "${run[@]}" config.yaml "${short[@]}" model.path="$1"
    bad 3 "$1: $2" "$REMLA" data order config.yaml model.path="$1" data.packing=transmla
}
no_tokenizer() { # PATH WORDS
    bad 3 "$1: $2" "$REMLA" data tokenize config.yaml tokenize.model="$1" tokenize.out=out-tokens
    bad 3 "$1: $2" "$REMLA" data encode "$1"
}
printf 'GGUF\3\0\0\0' >model.gguf
mkdir -p adapter pickled run/checkpoints/step-00000009 run/checkpoints/step-00000012
touch adapter/adapter_config.json pickled/pytorch_model.bin
cp "$golden/gqa/config.json" pickled
touch run/checkpoints/step-000000{09,12}/config.json
for hub in Qwen/Qwen2.5-0.5B meta-llama/Llama-2-7b-hf; do
    no_model $hub "there is no such folder; if it is a name on the Hugging Face hub: hf download $hub --local-dir DIR"
    no_tokenizer $hub "there is no such folder; if it is a name on the Hugging Face hub: hf download $hub"
done
no_model model.gguf 'is a GGUF file; make a model folder of it, if it is a llama: scripts/gguf_to_folder.py model.gguf DIR'
no_tokenizer model.gguf 'is a GGUF file; make a model folder of it, if it is a llama: scripts/gguf_to_folder.py model.gguf DIR'
no_model adapter 'holds an adapter (adapter_config.json), not a model|merge_and_unload'
no_model pickled 'holds pytorch_model.bin|safe_serialization=True'
no_model run 'is the folder of a training run; its newest model is run/checkpoints/step-00000012'
no_tokenizer run 'is the folder of a training run; its newest model is run/checkpoints/step-00000012'

# ---- shards
bad_shard token
write_bytes token.ds 154 '\xf4\x01'
bad 3 'token.ds|token 77|500|96' "${eval[@]}" "$golden/gqa" data.val=token.ds eval.seq_len=32
bad 6 'token.ds|token 77|500|96' "${run[@]}" config.yaml train.steps=9 train.out=out-run data.train=token.ds
bad_shard empty
: >empty.ds
bad 3 'empty.ds|empty' "${run[@]}" config.yaml "${short[@]}" data.train=empty.ds
bad_shard odd
printf x >>odd.ds
bad 3 'odd.ds|4619' "${run[@]}" config.yaml "${short[@]}" data.train=odd.ds
bad_shard cut
truncate -s 4000 cut.ds
bad 3 'cut.ds|2000|2309' "${run[@]}" config.yaml "${short[@]}" data.train=cut.ds
bad_shard index
truncate -s -8 index.ds.index
bad 3 'index.ds.index|2309' "${run[@]}" config.yaml "${short[@]}" data.train=index.ds
bad_shard order
write_bytes order.ds.index 0 '\xff\x00'
bad 3 'order.ds.index|document 1' "${run[@]}" config.yaml "${short[@]}" data.train=order.ds
bad_shard meta
echo nonsense >meta.ds.metadata
bad 3 'meta.ds.metadata|line 1|nonsense' "${run[@]}" config.yaml "${short[@]}" data.train=meta.ds
bad 3 'data.train|none-*.ds' "${run[@]}" config.yaml "${short[@]}" 'data.train=none-*.ds'
bad 3 'data.train|train.ds|2309|4096' "${run[@]}" config.yaml "${short[@]}" train.seq_len=4096 train.batch_tokens=8192
bad 3 '.ds.index' "${run[@]}" config.yaml "${short[@]}" "data.train=$golden/train.ds.*"

# ---- packing and mixtures
packed=("${short[@]}" data.pack_index=out-indexes)
sed '/eos_token_id/d' "$golden/gqa/config.json" >eos.json
bad_model endless
cp eos.json endless/config.json
bad 2 'data.packing=transmla|data.eos' "${run[@]}" config.yaml "${packed[@]}" model.path=endless data.packing=transmla
bad 2 'data.eos=96|96' "${run[@]}" config.yaml "${packed[@]}" data.packing=transmla data.eos=96
bad 2 'train.seq_len=1|transmla' "${run[@]}" config.yaml "${packed[@]}" data.packing=transmla train.seq_len=1
bad 2 'data.packing=greedy|concat, transmla, best_fit' "${run[@]}" config.yaml "${packed[@]}" data.packing=greedy
bad_shard words
printf '\x5f\0' >words.ds
printf '\1\0\0\0\0\0\0\0' >words.ds.index
printf 'x|2\n1\n1' >words.ds.metadata
bad 3 'words.ds|no sample|1 documents' "${run[@]}" config.yaml "${packed[@]}" data.train=words.ds data.packing=best_fit
bad 3 'config.yaml' "${run[@]}" config.yaml "${short[@]}" data.packing=best_fit data.pack_index=config.yaml
bad 2 "$golden/val.ds has no weight" "${run[@]}" config.yaml "${short[@]}" data.train="$golden/train.ds:1,$golden/val.ds"
bad 2 'data.train|weight 0' "${run[@]}" config.yaml "${short[@]}" data.train="$golden/train.ds:1,$golden/val.ds:0.00"
bad 2 'data.train|1048576' "${run[@]}" config.yaml "${short[@]}" data.train="$golden/train.ds:1,$golden/val.ds:1048576"
bad 3 'data.train|none.ds' "${run[@]}" config.yaml "${short[@]}" data.train="$golden/train.ds:1,none.ds:1"
bad 3 'train holds 20 samples|64' "${run[@]}" config.yaml train.out=out-run train.batch_tokens=2048 data.train="$golden/val.ds"
bad 2 'data order|--from|-1' "$REMLA" data order config.yaml --from -1
bad 2 'data order|--count' "$REMLA" data order config.yaml --count 9223372036854775808
bad 2 'data.train is not set' "$REMLA" data order config.yaml data.train=
bad 2 'data.packing=transmla|model.path' "$REMLA" data order config.yaml data.packing=transmla model.path=
bad 2 'data.val' "${eval[@]}" "$golden/gqa" eval.seq_len=32

# ---- text
tokenize=("$REMLA" data tokenize)
with=(tokenize.model="$golden/tokenizer" tokenize.out=out-tokens)
bad_text() { printf '%b' "$2" >"$1"; } # FILE CONTENT
bad_text good.txt 'some text'
bad 2 'tokenize.model is not set' "${tokenize[@]}" good.txt tokenize.out=out-tokens
bad 2 'tokenize.out is not set' "${tokenize[@]}" good.txt tokenize.model="$golden/tokenizer"
bad 2 'usage: remla data tokenize TEXT' "${tokenize[@]}" "${with[@]}"
bad 3 'gqa|tokenizer.json' "${tokenize[@]}" good.txt tokenize.model="$golden/gqa" tokenize.out=out-tokens
bad 2 'tokenize.eos=400: expected auto, none, or an id below 400' "${tokenize[@]}" good.txt "${with[@]}" tokenize.eos=400
bad 2 'tokenize.eos=no (command line): expected auto, none, or a whole number' "${tokenize[@]}" good.txt "${with[@]}" tokenize.eos=no
bad 2 'tokenize.eos=-1 (command line): expected auto, none, or a whole number' "${tokenize[@]}" good.txt "${with[@]}" tokenize.eos=-1
bad 2 'tokenize.column is empty' "${tokenize[@]}" good.txt "${with[@]}" tokenize.column=
bad 2 'tokenize.shard_tokens=0' "${tokenize[@]}" good.txt "${with[@]}" tokenize.shard_tokens=0
bad 3 'nothing.txt: no file matches' "${tokenize[@]}" good.txt nothing.txt "${with[@]}"
bad 3 'good.txt: is named twice' "${tokenize[@]}" good.txt good.t* "${with[@]}"
mkdir headless
cp "$golden/tokenizer/tokenizer.json" headless
bad 3 'headless names no end-of-text token: give its id as tokenize.eos, or tokenize.eos=none' "${tokenize[@]}" good.txt tokenize.model=headless tokenize.out=out-tokens
mkdir full
: >full/file
bad 3 'full exists and is not empty; nothing is overwritten' "${tokenize[@]}" good.txt tokenize.model="$golden/tokenizer" tokenize.out=full/
bad_text column.jsonl '{"text": "a"}\n{"content": "b", "id": 7}\n'
bad 3 'column.jsonl:2: there is no column "text", only content, id; tokenize.column names it' "${tokenize[@]}" column.jsonl "${with[@]}"
bad 3 'column.jsonl:1: there is no column "content"' "${tokenize[@]}" column.jsonl "${with[@]}" tokenize.column=content
bad_text null.jsonl '\n{"text": null}\n'
bad 3 'null.jsonl:2: column "text" is null, expected a string' "${tokenize[@]}" null.jsonl "${with[@]}"
bad_text json.jsonl '{"text": "a"}\n\n{"text": "a}\n'
bad 3 'json.jsonl:3: not JSON at byte 12 of the line' "${tokenize[@]}" good.txt json.jsonl "${with[@]}"
bad_text array.json '[\n{"text": "a"}\n]\n'
bad 3 'array.json:1: not JSON' "${tokenize[@]}" array.json "${with[@]}"
bad_text silent.jsonl '{"text": ""}\n\n{"text": ""}\n'
bad 3 'silent.jsonl: no line has text in column "text"' "${tokenize[@]}" good.txt silent.jsonl "${with[@]}"
bad_text empty.txt ''
bad 3 'empty.txt: the file is empty' "${tokenize[@]}" empty.txt "${with[@]}"
bad_text latin.txt 'caf\xe9\n'
bad 3 'latin.txt: byte 3, 0xe9, is not UTF-8' "${tokenize[@]}" latin.txt "${with[@]}"
bad_text latin.jsonl '{"text": "caf\xe9"}\n'
bad 3 'latin.jsonl:1: byte 13 of the line, 0xe9, is not UTF-8' "${tokenize[@]}" latin.jsonl "${with[@]}"
gzip -c good.txt | head -c 20 >cut.txt.gz
bad 3 'cut.txt.gz: is cut: its 20 bytes end inside compressed data' "${tokenize[@]}" cut.txt.gz "${with[@]}"
cp good.txt plain.txt.zst
bad 3 'plain.txt.zst: is damaged or not zstd after byte 0' "${tokenize[@]}" plain.txt.zst "${with[@]}"

# ---- lengths and a sliding window, options that contradict
bad_model window 's/LlamaForCausalLM/MistralForCausalLM/; s/"model_type": "llama"/"model_type": "mistral", "sliding_window": 16/'
bad 2 'eval.seq_len=32 is longer than the model|sliding_window of 16' "${eval[@]}" window "${on[@]}"
bad 2 'train.seq_len=32 is longer than the model|sliding_window of 16' "${eval[@]}" window data.val="$golden/val.ds" train.seq_len=32
bad 2 'eval.seq_len=4096 is longer than the model|sliding_window of 16' "${eval[@]}" window data.val="$golden/val.ds"
bad 2 'train.seq_len=32 is longer than the model|sliding_window of 16' "${run[@]}" config.yaml "${short[@]}" model.path=window
convert=("$REMLA" convert window out-mla calib.data="$golden/train.ds" convert.qk_rope_head_dim=4 convert.kv_lora_rank=12)
bad 2 'calib.seq_len=32 is longer than the model|sliding_window of 16' "${convert[@]}" calib.seq_len=32
bad 2 'eval.seq_len=32 is longer than the model|sliding_window of 16' "${convert[@]}" calib.seq_len=16 "${on[@]}"
bad 2 'train.seq_len=32 is longer than the model|sliding_window of 16' "${convert[@]}" calib.seq_len=16 data.val="$golden/val.ds" train.seq_len=32
bad 2 'convert.balance does not go with convert.method=remla' "${convert[@]}" calib.seq_len=16 convert.method=remla convert.balance=norm
long=$(printf '%01020d' 0)
bad 2 '000...: this path is too long, at most 1023 bytes are possible' "$REMLA" convert window "$long$long" calib.data="$golden/train.ds"
# Long enough for what is written beside it: the temporary folder.
beside=$(printf './%.0s' {1..505})mla
bad 2 './...: this path is too long, at most 1023 bytes are possible' "${convert[@]:0:3}" "$beside" "${convert[@]:4}" calib.seq_len=16
bad 2 '000...: this path is too long, at most 1023 bytes are possible' "${tokenize[@]}" good.txt tokenize.model="$golden/tokenizer" tokenize.out="$long"
bad 2 'train.steps=-1|auto, or a whole number from 1' "${run[@]}" config.yaml train.out=out-run train.steps=-1
bad 2 'convert.layout=stock|auto, deepseek, transmla' "${convert[@]}" convert.layout=stock

# ---- the command line
bad 2 'unknown command trian|train' "$REMLA" trian config.yaml
bad 2 'unknown command' "$REMLA" help trian
bad 2 'optim.leaning_rate|optim.' "${run[@]}" config.yaml "${short[@]}" optim.leaning_rate=1
bad 2 'optim.lrr|optim.lr?' "${run[@]}" config.yaml "${short[@]}" optim.lrr=1
bad 2 'train.lr|optim.lr?' "${run[@]}" config.yaml "${short[@]}" train.lr=1
bad 2 'optim.lr=7|0 to 1' "${run[@]}" config.yaml "${short[@]}" optim.lr=7
bad 2 'optim.lr=nan' "${run[@]}" config.yaml "${short[@]}" optim.lr=nan
bad 2 'optim.lr=fast' "${run[@]}" config.yaml "${short[@]}" optim.lr=fast
bad 2 'optim.schedule=step|cosine' "${run[@]}" config.yaml "${short[@]}" optim.schedule=step
bad 2 'train.micro_batch=0' "${run[@]}" config.yaml "${short[@]}" train.micro_batch=0
bad 2 'train.micro_batch=2.5' "${run[@]}" config.yaml "${short[@]}" train.micro_batch=2.5
bad 2 'train.seq_len=99999999999999999999' "${run[@]}" config.yaml "${short[@]}" train.seq_len=99999999999999999999
bad 2 'data.document_mask=maybe|true or false' "${run[@]}" config.yaml "${short[@]}" data.document_mask=maybe
bad 2 'train.batch_tokens=200|192|256' "${run[@]}" config.yaml "${short[@]}" train.batch_tokens=200
bad 2 'train.batch_tokens=8|64' "${run[@]}" config.yaml "${short[@]}" train.batch_tokens=8
bad 2 '--fast' "${run[@]}" config.yaml "${short[@]}" --fast
bad 2 'CONFIG.yaml' "${run[@]}"
bad 2 'more.yaml' "${run[@]}" config.yaml more.yaml
bad 2 'model.path' "${run[@]}" config.yaml "${short[@]}" model.path=

# ---- the file of options
yaml() { printf '%b' "$1" >bad.yaml; }
bad 3 'nofile.yaml' "${run[@]}" nofile.yaml
yaml 'train:\n  steps: 5\n  stepz: 6\n'
bad 2 'bad.yaml:3|train.stepz|train.steps' "${run[@]}" bad.yaml
yaml 'train:\n  steps: 5\ntrian:\n  seed: 1\n'
bad 2 'bad.yaml:3|trian|train' "${run[@]}" bad.yaml
yaml 'train:\n  steps: [1, 2\n'
bad 3 'bad.yaml:3' "${run[@]}" bad.yaml
yaml 'train:\n  steps: 5\n   seed: 6\n'
bad 2 'bad.yaml:2|train.steps=5 seed' "${run[@]}" bad.yaml
yaml 'train:\n  steps: 5\n seed: 6\n'
bad 3 'bad.yaml:3' "${run[@]}" bad.yaml
yaml 'train:\n\tsteps: 5\n'
bad 3 'bad.yaml:2' "${run[@]}" bad.yaml
yaml 'train:\n  steps: many\n'
bad 2 'bad.yaml:2|train.steps=many' "${run[@]}" bad.yaml
yaml 'train:\n  steps: 5\n  steps: 6\n'
bad 2 'bad.yaml:3|train.steps' "${run[@]}" bad.yaml
yaml 'train:\n  steps: {a: 1}\n'
bad 3 'bad.yaml:2' "${run[@]}" bad.yaml
yaml '- train\n'
bad 3 'bad.yaml:1' "${run[@]}" bad.yaml
yaml 'train:\n  out: "a\\xff"\n\0377\n'
bad 3 'bad.yaml:3' "${run[@]}" bad.yaml

# ---- places that cannot be written
: >plain
bad 3 'plain' "${run[@]}" config.yaml train.steps=2 train.out=plain/run
bad 3 'none/grad.safetensors' "${run[@]}" config.yaml "${short[@]}" debug.dump_gradients=none/grad.safetensors
bad 3 'standard output' bash -c '"$@" >/dev/full' - "${eval[@]}" "$golden/gqa" "${on[@]}"

# ---- going on with something else
check_exit 0 "$REMLA" train config.yaml train.steps=4 train.stop_after=2 train.out=begun
find begun -type f -exec md5sum {} + | sort -k2 | grep -v train.log >before
bad 2 'train.resume=none|begun/checkpoints/step-00000002' "${run[@]}" config.yaml train.steps=4 train.out=begun train.resume=none
bad 2 'begun/checkpoints/step-00000002|train.seed|8|7' "${run[@]}" config.yaml train.steps=4 train.out=begun train.seed=8
bad 2 'train.batch_tokens|256|512' "${run[@]}" config.yaml train.steps=4 train.out=begun train.batch_tokens=512
bad 2 'data.document_mask' "${run[@]}" config.yaml train.steps=4 train.out=begun data.document_mask=false
bad 3 'begun/checkpoints/step-00000002|data.train' "${run[@]}" config.yaml train.steps=4 train.out=begun data.train="$golden/val.ds"
bad 3 'begun/checkpoints/step-00000002|another model' "${run[@]}" config.yaml train.steps=4 train.out=begun model.path="$golden/mla"
bad 3 'nowhere' "${run[@]}" config.yaml "${short[@]}" train.resume=nowhere
find begun -type f -exec md5sum {} + | sort -k2 | grep -v train.log >after
cmp before after >&2 || fail "a refused command changed the run"

# ---- two live jobs in one folder
"${run[@]}" config.yaml train.steps=1000000 checkpoint.every=0 train.out=live >live.log 2>&1 &
job=$!
clean_up+=("kill -9 $job")
for ((wait = 0; wait < 1000; wait++)); do [ -s live/metrics.jsonl ] && break; sleep 0.01; done
bad 3 'live|another' "${run[@]}" config.yaml train.steps=1000000 train.out=live
kill -0 $job || fail "the first job did not survive the second"
kill -9 $job
{ wait $job; } 2>/dev/null || true
clean_up=()

# ---- on two ranks one sentence is enough, also when only one of them sees the fault
bad 2 'optim.lrr' ranks 2 "${run[@]}" config.yaml "${short[@]}" optim.lrr=1
bad 2 'unknown command' ranks 2 "$REMLA" trian
bad 6 'token.ds|token 77|500' ranks 2 "${run[@]}" config.yaml train.steps=9 train.out=out-run data.train=token.ds
bad 3 'nan/model.safetensors' ranks 2 "${eval[@]}" nan "${on[@]}"

[ $failed = 0 ] || fail "$failed cases"
