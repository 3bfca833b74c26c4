#!/usr/bin/env bash
# remla eval --tasks: the same samples to the last bit from any number of ranks and any eval.rows; scores that follow from the samples; an original beside
# it; a task of one's own; what is refused. remla train with eval.tasks: the answers of every evaluation in eval.jsonl, and after a stop the same ones.
. "$(dirname "$0")/common.sh"

for kind in gqa mla; do
    mkdir $kind
    cp "$golden/$kind"/* "$golden/eval"/tokenizer* $kind
done
questions=eval.data=$golden/eval

# ask MODEL OUT RANKS ROWS STYLE [argument ...]
ask() {
    ranks "$3" "$REMLA" eval "$1" --tasks all --style "$5" "$questions" "eval.rows=$4" --samples "$2" --json "${@:6}" >"$2.json" 2>err || fail "$(cat err)"
}
for kind in gqa mla; do
    for style in transmla lm-eval; do
        ask $kind one 1 512 $style
        ask $kind rows 1 3 $style
        ask $kind ranks 2 64 $style
        cmp one rows || fail "$kind, $style: another eval.rows, other samples"
        cmp one ranks || fail "$kind, $style: two ranks, other samples"
        [ "$(sed 's/"questions.*//' one.json)" = "$(sed 's/"questions.*//' ranks.json)" ] || fail "$kind, $style: other scores"
    done
done
[ "$(wc -l <one)" = 25 ] || fail "$(wc -l <one) samples of 25 questions"
[ "$(grep -c '"task":"arc_easy"' one)" = 4 ] || fail "validation is not the split of arc_easy in lm-eval"
cut -d'"' -f4 one | uniq | tr '\n' ' ' | grep -qx 'arc_easy arc_challenge openbookqa piqa hellaswag winogrande mmlu ' || fail "samples are not in the order of the tasks"

# Of two equal choices the first is picked.
grep '"id":"a/3"' one | grep -qv '"picked":0,"picked_norm":0' && fail "$(grep '"id":"a/3"' one)"

# The printed accuracies are shares of the samples whose pick is right.
share() { # TASK PICK
    awk -v task="\"task\":\"$1\"" -v pick="$2" 'index($0, task) { n++; match($0, /"gold":[0-9]+/); g = substr($0, RSTART + 7, RLENGTH - 7)
        match($0, "\"" pick "\":[0-9]+"); if (substr($0, RSTART + length(pick) + 3, RLENGTH - length(pick) - 3) == g) right++ } END { printf "%.9g", right / n }' one
}
for task in arc_easy hellaswag openbookqa; do
    grep -q "\"$task\":{\"n\":[0-9]*,\"shots\":0,\"acc\":$(share $task picked | sed 's/^\([01]\)$/\1.0/'),.*" one.json || fail "$task: acc is not $(share $task picked): $(cat one.json)"
    grep -o "\"$task\":{[^}]*" one.json | grep -q "\"acc_norm\":$(share $task picked_norm | sed 's/^\([01]\)$/\1.0/'),"  || fail "$task: acc_norm is not $(share $task picked_norm)"
done

# Limits, of mmlu in each subject; examples; the original beside it, from its result and from its folder.
ask gqa few 1 512 lm-eval --limit 1 --shots 3
[ "$(grep -c '"task":"mmlu","shots":3' few)" = 2 ] || fail "one question of each of two subjects: $(grep -c mmlu few)"
[ "$(wc -l <few)" = 8 ] || fail "$(wc -l <few) samples"
check_exit 0 "$REMLA" eval mla --tasks all --style lm-eval --limit 1 --shots 3 "$questions" eval.base=few.json
grep -q 'original  recovered %' out || fail "$(cat out)"
grep -v ' in .* s,' out >table
check_exit 0 "$REMLA" eval mla --tasks all --style lm-eval --limit 1 --shots 3 "$questions" eval.base=gqa
grep -v ' in .* s,' out | cmp - table || fail "another table with the original's folder than with its result"

# What `train` reads from options, `eval` reads where no flag says it.
check_exit 0 "$REMLA" eval gqa --tasks all --shots 3 "$questions" eval.style=lm-eval eval.limit=1 --samples by_options
cmp few by_options || fail "eval.style and eval.limit are other than --style and --limit"

# A task of one's own, as docs/EVALUATION.md has it.
mkdir own
awk '/^```jsonl/ { on = 1; next } /^```/ { on = 0 } on' "$REMLA_SOURCE/docs/EVALUATION.md" >own/capitals.jsonl
awk '/^```yaml/ { on = 1; next } /^```/ { on = 0 } on' "$REMLA_SOURCE/docs/EVALUATION.md" >own/capitals.yaml
check_exit 0 "$REMLA" eval gqa --tasks capitals eval.data=own --shots 1 --style lm-eval --samples capitals --json
grep -q '"context":"Capitals.\\n\\nQ: Spain\\nA: Madrid\\n\\nQ: France\\nA:","continuations":\[" Paris"," Rome"," Oslo"\]' capitals || fail "$(cat capitals)"
[ "$(wc -l <capitals)" = 2 ] || fail "$(cat capitals)"
gzip own/capitals.jsonl
check_exit 0 "$REMLA" eval gqa --tasks capitals eval.data=own --shots 1 --style lm-eval --samples packed --json
cmp capitals packed || fail "compressed questions are others"

refused() { # CODE PART COMMAND...
    check_exit "$1" "${@:3}"
    grep -q -- "$2" err || fail "no \"$2\": $(cat err)"
}
eval_gqa=("$REMLA" eval gqa "$questions")
refused 2 'unknown task arc_esay: .* did you mean arc_easy?' "${eval_gqa[@]}" --tasks piqa,arc_esay
refused 2 'the task piqa is named twice' "${eval_gqa[@]}" --tasks piqa,piqa
refused 2 'all stands for tasks where it stands alone' "${eval_gqa[@]}" --tasks piqa,all
refused 2 'no task is named' "${eval_gqa[@]}" --tasks ,
refused 2 '--style olmo: there are transmla and lm-eval' "${eval_gqa[@]}" --tasks piqa --style olmo
refused 2 'none of these tasks takes examples in style transmla' "${eval_gqa[@]}" --tasks all --shots 5
refused 2 '--shots 6: .*mmlu.jsonl has 5 examples (split dev) of high_school_law' "${eval_gqa[@]}" --tasks mmlu --shots 6 --style lm-eval
refused 2 '--limit 0: expected a whole number from 1' "${eval_gqa[@]}" --tasks piqa --limit 0
refused 2 '--tasks: expected T,.. after it' "${eval_gqa[@]}" --tasks
refused 2 'need --tasks' "${eval_gqa[@]}" --limit 3
refused 2 'eval.data is not set' "$REMLA" eval gqa --tasks piqa
refused 3 'there is neither piqa.jsonl nor piqa.jsonl.gz' "$REMLA" eval gqa --tasks piqa eval.data=own
refused 3 'there is no tokenizer.json' "$REMLA" eval "$golden/gqa" --tasks piqa "$questions"
refused 2 'eval.style=olmo: there are' "${eval_gqa[@]}" --tasks piqa eval.style=olmo
refused 2 '--samples: expected the name of a file' "${eval_gqa[@]}" --tasks piqa --samples ''
refused 3 'nowhere/out: cannot be' "${eval_gqa[@]}" --tasks piqa --samples nowhere/out
refused 3 'few.json: its style is lm-eval' "${eval_gqa[@]}" --tasks piqa eval.base=few.json
refused 3 'few.json: its piqa is of 1 questions with 0 examples, this one of 3 with 0' "${eval_gqa[@]}" --tasks piqa --style lm-eval eval.base=few.json
refused 3 'expected the JSON that' "${eval_gqa[@]}" --tasks piqa eval.base=gqa/config.json
[ ! -e nowhere ] && ! ls ./*.part 2>/dev/null || fail "something was left behind"
mkdir bad
for line in '{"id":"x","split":"validation","goal":"g","sol1":"a","sol2":"b","gold":2}:bad/piqa.jsonl:2: gold is 2, but the choices are 0 to 1' \
    '{"id":"x","split":"validation","goal":"g","sol1":"a","gold":0}:bad/piqa.jsonl:2: choice 1 is not a text' '{"id":"x", split}:bad/piqa.jsonl:2: not JSON at byte'; do
    { head -n 1 "$golden/eval/piqa.jsonl"; echo "${line%%:bad/*}"; } >bad/piqa.jsonl
    refused 3 "bad/${line##*:bad/}" "$REMLA" eval gqa --tasks piqa eval.data=bad
done
# A choice of characters that have no token leaves nothing to score; in style transmla the context's last token is.
printf 'context: So\ncontinuation: "{choice}"\n' >bad/tilde.yaml
echo '{"choices":["b","~"],"gold":0}' >bad/tilde.jsonl
refused 3 'tilde: question 0 (line 1), choice 1: there are no tokens to score' "$REMLA" eval gqa --tasks tilde eval.data=bad --style lm-eval
check_exit 0 "$REMLA" eval gqa --tasks tilde eval.data=bad

# In the loop: before the first step, every two steps, after the last one; a run that was stopped has the same answers in the end.
write_config run.yaml gqa
answers() { sed 's/, "questions.*//' "$1/eval.jsonl"; }
train=("$REMLA" train run.yaml train.steps=5 "$questions" eval.tasks=arc_easy,piqa eval.limit=2 eval.every=2 checkpoint.every=2)
check_exit 0 "${train[@]}" train.out=whole
[ "$(answers whole | grep -o '"step": [0-9]*' | tr -dc '0-9')" = 0245 ] || fail "$(cat whole/eval.jsonl)"
grep -q '^eval 4 | arc_easy 0\.[0-9]* | piqa [01]\.[0-9]* | 4 questions in' out || fail "$(cat out)"
check_exit 0 "${train[@]}" train.out=parts train.stop_after=4
sed -i '$d' parts/eval.jsonl # as if it had been killed between the checkpoint and the answers
echo '{"step": 5, "style": "lost"}' >>parts/eval.jsonl # of a step that is lost
check_exit 0 ranks 2 "${train[@]}" train.out=parts
check_exit 0 ranks 2 "${train[@]}" train.out=cut parallel.zero=3 parallel.sum=exact # no rank may skip a pass of another's
[ "$(answers cut | grep -o '"step": [0-9]*' | tr -dc '0-9')" = 0245 ] || fail "$(cat cut/eval.jsonl)"
cmp <(answers whole) <(answers parts) || fail "the answers differ: $(answers whole) $(answers parts)"
check_exit 0 "$REMLA" eval whole/checkpoints/step-00000005 --tasks arc_easy,piqa "$questions" --limit 2 --json
[ "$(sed 's/.*"tasks": *//; s/ //g; s/,"questions.*//' out)" = "$(tail -n 1 whole/eval.jsonl | sed 's/.*"tasks": *//; s/ //g; s/,"questions.*//')" ] || fail "$(cat out)"
cmp <(curve whole) <("${train[@]}" train.out=without eval.tasks= >out 2>&1; curve without) || fail "evaluation changes the training"
refused 2 'eval.style=olmo' "${train[@]}" train.out=other eval.style=olmo
refused 2 'unknown task piqua' "${train[@]}" train.out=other eval.tasks=piqua
