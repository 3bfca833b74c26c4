#!/usr/bin/env bash
# Evaluation losses and training curves against what an independent float64 implementation computed (tests/golden/make_golden.py).
. "$(dirname "$0")/common.sh"

for model in gqa mla; do
    for mask in plain docmask; do
        [ $mask = docmask ] && on=true || on=false
        check_exit 0 "$REMLA" eval "$golden/$model" data.val="$golden/val.ds" eval.seq_len=32 eval.micro_batch=3 data.document_mask=$on --json
        awk -v m=$model -v k=$mask '$1 == "eval" && $2 == m && $3 == k { print $4, $5 }' "$golden/expected.txt" >want
        echo "$(field tokens <out) $(field loss <out)" >got
        check_close 1e-5 "eval $model $mask" got want
        [ "$(cut -d' ' -f1 got)" = "$(cut -d' ' -f1 want)" ] || fail "eval $model $mask: $(cat got) targets instead of $(cat want)"
    done

    write_config config.yaml "$golden/$model"
    check_exit 0 "$REMLA" train config.yaml train.out="run-$model" train.steps=10
    awk -v m=$model '$1 == "train" && $2 == m { print $3, $4, $6 }' "$golden/expected.txt" >want
    curve "run-$model" | awk '{ print $1, $2, $4 }' >got
    check_close 2e-4 "train $model: step, loss, rate" got want
    awk -v m=$model '$1 == "train" && $2 == m { print $5 }' "$golden/expected.txt" >want
    curve "run-$model" | awk '{ print $3 }' >got
    check_close 2e-3 "train $model: gradient norm" got want

    # The run validates after its last step; a checkpoint is a model folder that gives the same.
    check_exit 0 "$REMLA" eval "run-$model/checkpoints/step-00000010" data.val="$golden/val.ds" eval.seq_len=32 eval.micro_batch=2 --json
    field val_loss <"run-$model/metrics.jsonl" >want
    field loss <out >got
    check_close 1e-6 "eval of the checkpoint of $model" got want
done
