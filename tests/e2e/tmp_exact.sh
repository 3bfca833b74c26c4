. "$(dirname "$0")/common.sh"
weights() { grep -o 'weights [0-9a-f]*' "$1" | tail -n 1; }
write_config mla.yaml "$golden/mla"
options=(mla.yaml train.steps=3 train.micro_batch=2 val.tokens=32 parallel.sum=exact device.kind=cuda)
check_exit 0 "$REMLA" train "${options[@]}" train.out=one
weights out >want; cat want
for n in 2 4; do for zero in 0 1 2 3; do for type in f32 ; do
check_exit 0 ranks $n env FAKECUDA_LAZY=3$zero SIMT_SEED=3 "$REMLA" train "${options[@]}" train.out=r$n-$zero parallel.zero=$zero parallel.reduce_type=$type optim.offload=true
weights out >got;  cmp want got && cmp <(curve one) <(curve r$n-$zero) && echo ranks $n zero $zero equal
done; done; done
check_exit 0 "$REMLA" train "${options[@]}" train.out=oneb parallel.reduce_type=bf16
weights out >want; cat want
check_exit 0 ranks 2 env FAKECUDA_LAZY=5 "$REMLA" train "${options[@]}" train.out=r2b parallel.zero=2 parallel.reduce_type=bf16
weights out; cmp <(curve oneb) <(curve r2b) 
echo done
