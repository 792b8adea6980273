# Hidden states of frozen lower layers on disk: the size beforehand, the same bytes with and without, what is said, a full disk.
. "$SELLA_ROOT/tests/cli/make_log.inc"
make_log log
rm log/test.tsv
cp -r "$SELLA_ROOT/tests/ref/tiny_llama" model
set="--set lora.first_layer=1 --set stage1.epochs=2 --set stage1.batch=20 --set train.tokens=512 --set stage1.tree_cap=200 --set history.window=sliding --set history.length=3 --set train.rows=100 --set eval.rows=30"
try() { "$SELLA" "$@" --threads 1; echo "exit $?" >&2; }
hidden() { grep -o 'stage1: .*hidden.*\|stage1: what enters.*' "$1"; }
"$SELLA" import split log -o data --noun movie --quiet >/dev/null
echo "== dry run"
"$SELLA" train tallrec data --model model $set --dry-run --quiet | grep "hidden states"
"$SELLA" train tallrec data --model model $set --set stage1.epochs=1 --dry-run --json --quiet | grep -o '"cache_mb":[^,]*'
echo "== with and without"
"$SELLA" train tallrec data --model model $set --threads 1 -o with >/dev/null 2>with.err
"$SELLA" train tallrec data --model model $set --threads 1 -o without --set train.cache_hidden=no >/dev/null 2>without.err
hidden with.err
hidden without.err
cmp with/adapter/adapter_model.safetensors without/adapter/adapter_model.safetensors && cmp with/predictions-valid.csv without/predictions-valid.csv && echo equal
ls with/stages/stage1
echo "== refused"
try train tallrec data --model model -o wrong --set train.cache_hidden=yes --quiet
try train tallrec data --model model -o wrong --set train.cache_hidden=always --quiet
ls -d wrong 2>/dev/null
echo "== a file size limit"
(ulimit -f 400; "$SELLA" train tallrec data --model model $set --threads 1 -o small >/dev/null 2>small.err; echo "exit $?")
hidden small.err | sed 's/[0-9.]* MB/N MB/g; s/[0-9]* tokens/N tokens/; s,/.*/small,SMALL,'
cmp with/adapter/adapter_model.safetensors small/adapter/adapter_model.safetensors && echo equal
