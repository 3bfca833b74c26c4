#!/usr/bin/env bash
# remla serve: every route by curl, every refusal, texts equal to those of remla generate, two models side by side, many clients at once (some of which
# are slow, malformed or vanish), and a stop in the midst of them. SERVE_SECONDS=300 makes the load long.
. "$(dirname "$0")/common.sh"
command -v curl >/dev/null || exit 77

# make_model FOLDER SOURCE: a model of tests/golden with a tokenizer of ASCII, whose end token is 0.
make_model() {
    mkdir "$1"
    cp "$2/model.safetensors" "$1"
    sed 's/"eos_token_id": 95/"eos_token_id": 0/' "$2/config.json" >"$1/config.json"
    awk 'BEGIN {
        printf "{\"added_tokens\": [{\"id\": 0, \"content\": \"<|end|>\", \"special\": true, \"normalized\": false}], "
        printf "\"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false}, \"decoder\": {\"type\": \"ByteLevel\"}, "
        printf "\"model\": {\"type\": \"BPE\", \"merges\": [], \"vocab\": {\"<|end|>\": 0, \"Ġ\": 95"
        for (i = 33; i < 127; i++) printf ", \"%s%c\": %d", i == 34 || i == 92 ? "\\" : "", i, i - 32
        print "}}}"
    }' >"$1/tokenizer.json"
    cat >"$1/tokenizer_config.json" <<'JSON'
{"eos_token": "<|end|>", "chat_template": "{% for m in messages %}{{ m.role }}: {{ m.content }} {% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"}
JSON
}
make_model recovered "$golden/mla"
make_model original "$golden/gqa"

# start OPTIONS...: a server on any port, whose address is then $url. Its process is $server.
server=
stop_server() { [ -z "$server" ] || kill -KILL "$server" 2>/dev/null; }
clean_up+=(stop_server)
listens() { grep -q '^listening on' log; }
start() {
    rm -f log
    "$REMLA" serve recovered serve.port=0 device.kind=cpu "$@" >log 2>err &
    server=$!
    wait_for listens
    url=$(sed -n 's/^listening on \([^,]*\),.*/\1/p' log)
}
# stop: asks it to end, and expects success.
stop() {
    local code=0
    kill -TERM "$server"
    wait "$server" || code=$?
    server=
    [ $code = 0 ] || fail "the server ended with $code: $(cat err)"
    grep -q '^stopped$' log || fail "$(cat log)"
    ! grep -E 'ERROR|runtime error' err >&2 || fail "a sanitizer complains"
}
# ask CODE PATH [CURL-OPTIONS...]: the answer is in the file out.
ask() {
    local code
    code=$(curl -sS -m 60 -o out -w '%{http_code}' "${@:3}" "$url$2")
    [ "$code" = "$1" ] || fail "$2 ${*:3}: code $code instead of $1: $(cat out)"
}
json=(-H 'Content-Type: application/json')
# expect PATTERN: in the last answer.
expect() { grep -qF -- "$1" out || fail "no $1 in: $(cat out)"; }
# text: of the last answer's first choice; the ASCII model's texts need no more than \" and \\ undone.
text() { sed -n 's/.*"text":"\(\([^"\\]\|\\.\)*\)".*/\1/p' out | sed 's/\\\(["\\]\)/\1/g'; }

start serve.max_body=20000
ask 200 /health && expect '{"status":"ok"}'
ask 200 /v1/models && expect '"id":"recovered"' && expect '"max_model_len":512' && expect '"chat":true'
ask 200 /tokenizer_info && expect '"eos_token":"<|end|>"' && expect '"bos_token":null' && expect 'add_generation_prompt'
ask 200 /tokenize "${json[@]}" -d '{"prompt": "test", "add_special_tokens": false}' && expect '"tokens":[84,69,83,84]'
ask 200 /tokenize "${json[@]}" -d '{"prompt": "<|end|>"}' && expect '"tokens":[0]'
ask 200 /detokenize "${json[@]}" -d '{"tokens": [84,69,83,84]}' && expect '{"prompt":"test"}'
ask 200 / && expect '</html>'
ask 200 /v1/chat/completions "${json[@]}" -d '{"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5, "temperature": 0}'
expect '"role":"assistant"' && expect '"completion_tokens":5' && expect '"prompt_tokens":20'
ask 200 /v1/chat/completions "${json[@]}" -d '{"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5, "stream": true}' && expect 'data: [DONE]'
ask 200 /v1/completions "${json[@]}" -d '{"prompt": [[1,2,3],[4,5]], "max_tokens": 1, "logprobs": 1, "echo": true, "temperature": 0}'
[ "$(grep -o '"token_logprobs":\[[^]]*\]' out | awk -F, '{ printf "%d ", NF }')" = "4 3 " ] || fail "$(cat out)"

# The same texts as remla generate: two programs over one engine, with and without chance.
for how in "temperature=0" "temperature=0.9 top_k=20 seed=5" "temperature=1.2 top_p=0.8 repetition_penalty=1.3 seed=77"; do
    options=() fields=
    for pair in $how; do options+=("generate.$pair") fields+=", \"${pair%=*}\": ${pair#*=}"; done
    "$REMLA" generate recovered "abc def" generate.chat=never generate.max_tokens=40 device.kind=cpu "${options[@]}" >want 2>err || fail "$(cat err)"
    ask 200 /v1/completions "${json[@]}" -d "{\"prompt\": \"abc def\", \"max_tokens\": 40$fields}"
    [ "$(text)" = "$(cat want)" ] || fail "$how: $(text) instead of $(cat want)"
done

# What is wrong gets a sentence.
ask 400 /v1/completions "${json[@]}" -d '{"prompt": "a", "temperature": "hot"}' && expect 'temperature is \"hot\"; expected a number'
ask 400 /v1/completions "${json[@]}" -d '{"prompt": "a", "max_tokens": 512}' && expect 'together more than the 512'
ask 403 /health -H 'Host: evil.example' && expect 'answers to localhost only'
ask 403 /health -H 'Origin: http://evil.example' && expect 'may not ask this server'
ask 404 /v1/nothing && expect 'nothing at /v1/nothing'
ask 405 /v1/completions && expect 'expected POST'
head -c 30000 /dev/zero | tr '\0' ' ' >large
ask 413 /v1/completions "${json[@]}" --data-binary @large && expect 'serve.max_body'
ask 413 /v1/completions "${json[@]}" -H 'Transfer-Encoding: chunked' --data-binary @large
ask 413 /v1/completions "${json[@]}" -H 'Expect: 100-continue' --data-binary @large
ask 415 /v1/completions -d '{"prompt": "a"}' && expect 'expected application/json'
ask 200 /metrics && expect 'remla_requests_total{route="/v1/completions",code="413"} 3'
check_exit 3 "$REMLA" serve original "serve.port=${url##*:}" device.kind=cpu
grep -q "cannot listen on 127.0.0.1, port ${url##*:}" err || fail "$(cat err)"
stop

# A template that is none leaves texts.
cp -r original untold
echo '{"eos_token": "<|end|>", "chat_template": "{% for m in messages"}' >untold/tokenizer_config.json
start serve.base=untold
grep -q 'untold/tokenizer_config.json: chat template, line 1: .*no chats' err || fail "$(cat err)"
ask 200 /v1/completions "${json[@]}" -d '{"model": "untold", "prompt": "abc", "max_tokens": 3}'
ask 400 /v1/chat/completions "${json[@]}" -d '{"model": "untold", "messages": [{"role": "user", "content": "Hi"}]}' && expect 'no chat template'
stop

# A key, two models, a queue that is full, and a request that runs while the server stops.
REMLA_SERVE_KEY=secret start serve.base=original decode.sequences=1 serve.queue=0
ask 401 /v1/models && expect 'this server wants a key'
ask 401 /v1/models -H 'Authorization: Bearer other' && expect 'the key is not'
json+=(-H 'Authorization: Bearer secret')
ask 200 /v1/models "${json[@]}" && expect '"id":"recovered"' && expect '"id":"original"'
ask 200 /health
for name in recovered original; do
    ask 200 /v1/completions "${json[@]}" -d "{\"model\": \"$name\", \"prompt\": \"abc\", \"max_tokens\": 30, \"temperature\": 0}" && expect "\"model\":\"$name\""
    text >$name.text
    "$REMLA" generate $name abc generate.chat=never generate.max_tokens=30 device.kind=cpu >want 2>err
    [ "$(cat $name.text)" = "$(cat want)" ] || fail "$name: $(cat $name.text) instead of $(cat want)"
done
! cmp -s recovered.text original.text || fail "both models say the same"
ask 400 /v1/completions "${json[@]}" -d '{"prompt": "a", "n": 2}' && expect '2 texts at once; this server takes 1'
stop

command -v python3 >/dev/null || { echo "without python3: no load"; exit 0; }
load() { python3 "$REMLA_SOURCE/tests/e2e/serve_load.py" "${url#http://}" "${SERVE_SECONDS:-4}" --body 200000 "$@" >load.out 2>&1 || { cat load.out err >&2; fail "under load"; }; cat load.out; }
start serve.max_body=200000 serve.timeout=20 decode.sequences=16 serve.queue=100
load
stop
start serve.max_body=200000 serve.timeout=20 serve.grace=10 serve.base=original
load --model original --stop "$server"
code=0
wait "$server" || code=$?
server=
[ $code = 0 ] || fail "stopped under load, the server ended with $code: $(cat err)"
