# What happens to folders, files and arguments around a run: each is told in one sentence, and the next command goes on.
. "$SELLA_ROOT/tests/cli/make_log.inc"
make_log log
try() { timeout 20 "$SELLA" "$@" --quiet --threads 1; echo "exit $?" >&2; }
short() { sed "s|$PWD|HERE|g" "$1" >&2; }
"$SELLA" import split log -o data --quiet >/dev/null
"$SELLA" train mf data -o run --set collab.epochs=2 --quiet --threads 1 >/dev/null
echo "== the record of a stage, cut short and as garbage" >&2
head -c 40 run/stages/mf/done.json >cut && mv run/result.json kept.json
cp run/stages/mf/done.json good && cp cut run/stages/mf/done.json
try train mf data -o run --resume
echo garbage >run/stages/mf/done.json
try train mf data -o run --resume
cp good run/stages/mf/done.json
"$SELLA" train mf data -o run --resume --quiet --threads 1 >/dev/null; echo "exit $?" >&2
echo "== what killed processes left beside an output is removed, what is not theirs stays"
dead=$(bash -c 'echo $$') # over by now
mkdir new.import-$dead new2.train-$dead "new.import-$$" new.train-1x other.import-$dead
"$SELLA" import split log -o new --quiet >/dev/null; "$SELLA" train itembias new -o new2 --quiet >/dev/null
ls -d new* other* | sed "s/-$$\$/-LIVING/; s/-$dead\$/-DEAD/"
mkdir target && ln -s target link && "$SELLA" train itembias data -o link --quiet --threads 1 >/dev/null && ls target | head -n 2
echo "== a sample does not replace all rows"
cp run/predictions-valid.csv all.csv
"$SELLA" eval run --split valid --rows 20 --threads 1 2>&1 >/dev/null | tail -n 1
"$SELLA" eval run --split valid --rows 20 --seed 3 --quiet --threads 1 >/dev/null
"$SELLA" eval run --split valid --rows 160 --quiet --threads 1 >/dev/null
cmp all.csv run/predictions-valid.csv && ls run | grep predictions
echo "== from another folder, and when the data set moved" >&2
mkdir -p else/where && (cd else/where && "$SELLA" eval ../../run --split valid --quiet --threads 1 >/dev/null; echo "exit $?" >&2)
mv data moved && try eval run --split valid 2>err; short err
"$SELLA" eval run --split valid --data moved --quiet --threads 1 >/dev/null; echo "exit $?" >&2
mv moved data
echo "== pipes where files are expected" >&2
mkfifo pipe
for at in run/users.tsv run/run.json run/collab.safetensors run/history.npy data/history.npy; do
    mv $at saved && ln -s "$PWD/pipe" $at && try eval run --split valid 2>err; short err; mv saved $at
done
mv run/result.json kept.json && mv run/metrics.jsonl saved && mkfifo run/metrics.jsonl && rm -r run/stages
try train mf data -o run --resume 2>err; short err; rm run/metrics.jsonl; mv saved run/metrics.jsonl; mv kept.json run/result.json
for words in "metrics pipe" "compare pipe pipe" "score run pipe" "import csv pipe -o x" "import amazon pipe pipe -o x" "import split pipe -o x" "inspect pipe" "train mf data -o x --config pipe" "train mf data -o x --config /dev/zero"; do
    try $words
done
echo "== arguments are checked before a model is opened" >&2
try inspect nowhere.gguf --text a --logits-of a,,b
try inspect prompt run --row 161 --split valid 2>err; short err
sed -i 's/"format": 2/"format": 9/' run/run.json && try eval run
echo "== config: what cannot be read is 1, what is wrong in it is 2, as with --set" >&2
for text in "collab.epochs: '1" $'\xff' 'collab.epochs: x' 'collab.epoch: 3' '- a' 'collab: {epochs: 1, epochs: 2}'; do
    printf '%s\n' "$text" >c.yaml; try train mf data -o x --config c.yaml
done
try train mf data -o x --config none.yaml
try train mf data -o x --config .
ls -d x* 2>/dev/null
true
