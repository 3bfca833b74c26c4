#!/usr/bin/env bash
# device_fixtures.sh STORAGE ATTENTION [FIXTURE...]: gradients and 20 training steps on a device against the models, losses and gradients that upstream's
# converter and an independent implementation left in ../shared/fixtures.
. "$(dirname "$0")/common.sh"
storage=$1 attention=$2
shift 2
fixtures=$REMLA_SOURCE/../shared/fixtures
python=$REMLA_SOURCE/build/venv/bin/python
[ -e "$fixtures/check.py" ] || { echo "there is no $fixtures: skipped"; exit 77; }
"$python" -c 'import numpy, safetensors' 2>/dev/null || { echo "build/venv lacks numpy or safetensors: skipped"; exit 77; }
folder=$fixtures
if [ $# -gt 0 ]; then
    folder=$work/some
    mkdir "$folder"
    for name in "$@" fixtures.json train.ds train.ds.index train.ds.metadata val.ds val.ds.index val.ds.metadata tokenizer.json; do ln -s "$fixtures/$name" "$folder/$name"; done
fi

[ "$storage" = f32 ] && gradients=1e-3 losses=5e-4 || gradients=5e-2 losses=3e-2
export W=$work EXTRA="device.kind=cuda device.storage=$storage device.attention=$attention"
LIMIT=$gradients "$python" "$fixtures/check.py" grads "$REMLA" "$folder"
LIMIT=$losses "$python" "$fixtures/check.py" trajectory "$REMLA" "$folder"
