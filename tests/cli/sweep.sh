# sweep: a run for each combination, one table, chosen on valid; the same command again reuses what is finished.
. "$SELLA_ROOT/tests/cli/make_log.inc"
make_log log
sella() { "$SELLA" "$@" --quiet --threads 1; }
number() { sed 's/  *[0-9][0-9]*\.[0-9]*/  NUMBER/g'; }
sella import split log -o data --noun movie >/dev/null
base="--set collab.epochs=4 --set collab.width=4 --set collab.optimizer=adam"
sella sweep mf data -o out $base --grid collab.lr=0.001,0.02 --grid collab.bias=yes,no | number
ls out
head -n 1 out/sweep.csv; tail -n +2 out/sweep.csv | cut -d , -f 1-5
echo "== best"
sort -t , -k 6,6gr out/sweep.csv | head -n 1 | awk -F , '{print $(NF - 1)}' # names hold a comma, so the 6th field is the AUC
grep -c '"name"' out/sweep.json; grep -o '"best": "[^"]*"' out/sweep.json
echo "== again: nothing is trained"
before=$(cat out/*/result.json | cksum)
sella sweep mf data -o out $base --grid collab.lr=0.001,0.02 --grid collab.bias=yes,no >/dev/null
[ "$before" = "$(cat out/*/result.json | cksum)" ] && echo same
rm "out/collab.lr=0.02,collab.bias=no/result.json"
"$SELLA" sweep mf data -o out $base --grid collab.lr=0.001,0.02 --grid collab.bias=yes,no --threads 1 2>&1 >/dev/null | grep -c "^mf, preset" # one of four
echo "== seeds, a dry run, JSON"
sella sweep mf data -o seeds $base --grid 'collab.lr=0.001;0.02' --seeds 0,1 | number
ls seeds/collab.lr=0.02
sella sweep mf data $base --grid collab.lr=0.001,0.02 --dry-run | number
sella sweep mf data -o seeds $base --grid collab.lr=0.02 --seeds 0,1 --json | grep -o '"best":.*'
echo "== usage" >&2
for words in "" "--grid collab.lr" "--grid collab.lr=1,,2" "--grid collab.lr=1,1" "--grid collab.lr=1,2 --grid collab.lr=3" "--grid collab.lrr=1,2" "--grid collab.lr=1,fast" \
    "--grid collab.width=3,4 --set collab.width=2" "--grid collab.lr=1e-3 --seeds 1,x"; do
    sella sweep mf data -o new $words; echo "exit $?" >&2
done
sella sweep mf data -o out --grid collab.lr=0.001; echo "exit $?" >&2
sella sweep itembias data -o out --grid collab.lr=0.001; echo "exit $?" >&2
sella sweep mf data -o data --grid collab.lr=0.001; echo "exit $?" >&2
sella sweep mf data --grid collab.lr=0.001; echo "exit $?" >&2
ls -d new 2>/dev/null
true
