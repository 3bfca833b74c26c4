#!/usr/bin/env bash
# remla generate: a prompt as an argument and on standard input, text that is streamed, sampling that repeats with its seed, stop strings, chat templates,
# caches, costs as JSON and on standard error, one sentence for what is wrong, and an end by Ctrl-C.
. "$(dirname "$0")/common.sh"

# A letter is a token: those of ASCII in their order, then the space, then the end.
vocabulary() {
    local i letter
    for ((i = 0; i < 94; i++)); do
        printf -v letter "\\x$(printf %x $((33 + i)))"
        case $letter in [\"\\]) letter="\\$letter" ;; esac
        printf '"%s": %d, ' "$letter" $i
    done
    printf '"Ġ": 94, "<|end|>": 95'
}
for model in gqa mla; do
    cp -r "$golden/$model" $model
    printf '{"added_tokens": [{"id": 95, "content": "<|end|>", "special": true}], "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false}, "decoder": {"type": "ByteLevel"}, "model": {"type": "BPE", "merges": [], "vocab": {%s}}}' \
        "$(vocabulary)" >$model/tokenizer.json
    echo '{"eos_token": "<|end|>"}' >$model/tokenizer_config.json
done
text_of() { sed -n 's/^{"text":"\(\([^"\\]\|\\.\)*\)".*/\1/p' out; }
number() { sed -n "s/.*\"$1\":\([^,}]*\).*/\1/p" out; }

for model in gqa mla; do
    # An argument, standard input, and a file without its last end of line are the same prompt; the streamed text is that of the JSON.
    check_exit 0 "$REMLA" generate $model "What is 1+1=2?" generate.max_tokens=40 --json
    text=$(text_of)
    [ -n "$text" ] || fail "$model has generated nothing: $(cat out)"
    cp out json
    check_exit 0 "$REMLA" generate $model - generate.max_tokens=40 --json <<<"What is 1+1=2?"
    [ "$(text_of)" = "$text" ] || fail "standard input gives another text"
    check_exit 0 "$REMLA" generate $model generate.max_tokens=40 decode.rows=3 <<<"What is 1+1=2?"
    [ "$(sed 's/[\\"]/\\&/g' out)" = "$text" ] || { cat out json >&2; fail "what is streamed is not the text"; }
    grep -q "tokens, .* a second; first token after .* s, prompt 14 tokens, .* a second; cache [0-9]* bytes a token; ended by" err || fail "no costs: $(cat err)"

    # Draws repeat with their seed, and differ with another.
    sample=("$REMLA" generate $model "abc" generate.max_tokens=60 generate.temperature=1.2 generate.top_p=0.95 generate.top_k=50 generate.min_p=0.001 generate.repetition_penalty=1.1 --json)
    check_exit 0 "${sample[@]}" generate.seed=5
    first=$(text_of)
    check_exit 0 "${sample[@]}" generate.seed=5
    [ "$(text_of)" = "$first" ] || fail "a seed gives two texts"
    check_exit 0 "${sample[@]}" generate.seed=6
    [ "$(text_of)" != "$first" ] || fail "two seeds give one text"

    # A stop string ends the text, which does not contain it.
    check_exit 0 "$REMLA" generate $model "What is 1+1=2?" generate.max_tokens=40 generate.chat=never --json
    whole=$(text_of)
    stop=${whole:3:2}
    case $stop in *[,\\]*) ;; *)
        check_exit 0 "$REMLA" generate $model "What is 1+1=2?" generate.max_tokens=40 "generate.stop=$stop" --json
        [ "$(text_of)" = "${whole%%"$stop"*}" ] || fail "$model: $stop ends $(text_of), the whole text is $whole"
        [ "$(number finish_reason)" = '"stop"' ] || fail "a stop string is reported as $(number finish_reason)" ;;
    esac

    # Narrow caches take less.
    check_exit 0 "$REMLA" generate $model abc generate.max_tokens=5 --json
    wide=$(number cache_bytes_per_token)
    check_exit 0 "$REMLA" generate $model abc generate.max_tokens=5 decode.cache=bf16 --json
    [ $((2 * $(number cache_bytes_per_token))) = "$wide" ] || fail "bf16 takes $(number cache_bytes_per_token) bytes, f32 $wide"
    check_exit 0 "$REMLA" generate $model abc generate.max_tokens=5 decode.cache=f8 --json
    [ "$(number cache_bytes_per_token)" -lt $((wide / 2)) ] || fail "f8 takes $(number cache_bytes_per_token) bytes, f32 $wide"
done

# An end of line as a stop string; a text that may become longer than the model knows.
check_exit 0 "$REMLA" generate gqa abc generate.max_tokens=5 'generate.stop=x\ny,\\n' --json
check_exit 0 "$REMLA" generate gqa abc generate.max_tokens=600 generate.chat=never
grep -q "warning: prompt and generate.max_tokens are 603 tokens; gqa is made for 512" err || fail "no warning: $(cat err)"

# A chat template: the prompt is what the user says.
cp -r gqa chat
echo '{"eos_token": "<|end|>", "chat_template": "{% for m in messages %}<{{ m.role }}:{{ m.content | trim }}>{% endfor %}{% if add_generation_prompt %}A:{% endif %}"}' >chat/tokenizer_config.json
check_exit 0 "$REMLA" generate gqa "<user:hi>A:" generate.max_tokens=20 --json
plain=$(text_of)
check_exit 0 "$REMLA" generate chat " hi " generate.max_tokens=20 --json
[ "$(text_of)" = "$plain" ] || fail "the chat's text is $(text_of) instead of $plain"
[ "$(number chat)" = true ] || fail "the chat is not said to be one"
check_exit 0 "$REMLA" generate gqa "<system:be><user:hi>A:" generate.max_tokens=20 --json
plain=$(text_of)
check_exit 0 "$REMLA" generate chat hi generate.max_tokens=20 generate.system=be --json
[ "$(text_of)" = "$plain" ] || fail "with a system message the text is $(text_of) instead of $plain"
check_exit 0 "$REMLA" generate chat "<system:be><user:hi>A:" generate.max_tokens=20 generate.chat=never --json
[ "$(text_of)" = "$plain" ] || fail "generate.chat=never uses the template"

# The token before a prompt: where tokenizer.json puts one, `always` does too, though the folder names no bos_token.
cp -r gqa first
sed -i 's/^{/{"post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<|end|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]}, /' first/tokenizer.json
cp -r gqa named
echo '{"eos_token": "<|end|>", "bos_token": "<|end|>"}' >named/tokenizer_config.json
while read -r model bos want; do
    check_exit 0 "$REMLA" generate "$model" abc generate.max_tokens=1 "generate.bos=$bos" --json
    [ "$(number prompt_tokens)" = "$want" ] || fail "$model with generate.bos=$bos has $(number prompt_tokens) tokens before it, expected $want"
done <<END
gqa auto 3
gqa always 3
first auto 4
first always 4
first never 3
named auto 3
named always 4
END

# bad CODE SENTENCE ARGUMENT...
bad() {
    check_exit "$1" "$REMLA" generate "${@:3}"
    [ "$(grep -c '^remla generate: ' err)" = 1 ] && grep -qF "$2" err || fail "expected: $2; found: $(cat err)"
}
bad 3 "the prompt is empty" gqa ""
bad 3 "gqa has no chat template, which generate.chat=always wants" gqa x generate.chat=always
bad 3 "generate.system is set, but gqa has no chat template" gqa x generate.system=x
bad 3 "there is no tokenizer.json" "$golden/gqa" x
bad 2 "generate.top_p=2" gqa x generate.top_p=2
bad 2 "one argument too many" gqa x y
bad 2 "prompt and max_tokens take 256 positions of the cache over all choices; it has 64" gqa x decode.positions=64
bad 3 "not UTF-8" gqa $'\xff'
echo '{"chat_template": "{{ raise_exception(\"no\" ~ messages[0].content) }}"}' >chat/tokenizer_config.json
bad 3 "chat template, line 1: the template refuses it: nox" chat x
echo '{"chat_template": "\n{% frob %}"}' >chat/tokenizer_config.json
bad 3 "chat/tokenizer_config.json: chat template, line 2: the tag frob is not supported here" chat x
check_exit 0 "$REMLA" generate chat x generate.chat=never generate.max_tokens=1

# A model that computes 0 / 0: norms of zeros, with an epsilon that is 0 as a float.
cp -r gqa broken
sed -i 's/"rms_norm_eps": [^,]*/"rms_norm_eps": 1e-300/' broken/config.json
embeddings=$(grep -ao '"model.embed_tokens.weight":[^}]*"data_offsets":.[0-9]*' broken/model.safetensors | grep -o '[0-9]*$')
header=$(od -An -t u8 -N 8 broken/model.safetensors)
dd if=/dev/zero of=broken/model.safetensors bs=1 count=$((96 * 32 * 2)) seek=$((8 + header + embeddings)) conv=notrunc 2>dd.log
bad 7 "broken computes numbers that are not finite" broken x generate.chat=never

# Ctrl-C ends it: the text so far, and what it has cost. A model that knows no end does not stop by itself.
cp -r mla endless
sed -i '/"eos_token_id"/d' endless/config.json
echo '{}' >endless/tokenizer_config.json
"$REMLA" generate endless abc generate.max_tokens=1000000 generate.temperature=3 >out 2>err &
job=$!
for ((i = 0; i < 1000; i++)); do
    [ "$(wc -c <out)" -ge 50 ] && break
    kill -0 $job 2>/dev/null || { cat err >&2; fail "it ended by itself"; }
    sleep 0.02
done
kill -INT $job
code=0
wait $job || code=$?
[ $code = 0 ] || { cat err >&2; fail "exit code $code after Ctrl-C"; }
grep -q "ended by cancelled" err || fail "$(cat err)"
[ "$(wc -c <out)" -ge 50 ] || fail "the text is gone"
