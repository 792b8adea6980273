# train --seeds and eval of its folder: a run for each seed, mean and standard deviation; killed in the middle, --resume goes on.
. "$SELLA_ROOT/tests/cli/make_log.inc"
make_log log
sella() { "$SELLA" "$@" --quiet --threads 1; }
sella import split log -o data --noun movie >/dev/null
set="--set collab.epochs=4 --set collab.width=4 --set collab.lr=0.02 --set collab.optimizer=adam"
sella train mf data -o runs --seeds 0,1,2 $set | sed 's/  [0-9].[0-9]*/  NUMBER/g'
ls runs
echo "== eval"
sella eval runs --by warm --ranking full | sed 's/  [0-9].[0-9]*/  NUMBER/g'
sella eval runs --split valid --json >all.json
awk -v RS=, '/"seed":/ {n++} END {print n, "runs"}' all.json
# the summary's mean and deviation, from the runs' own figures
for seed in 0 1 2; do sed -n 's/^ *"auc": \([0-9.]*\),/\1/p' runs/seed-$seed/result.json | head -n 1; done |
    awk '{a[NR] = $1; m += $1 / 3} END {for (i = 1; i <= 3; i++) s += (a[i] - m) ^ 2; printf "%.10f %.10f\n", m, sqrt(s / 2)}' >want
grep -o '"mean":{"auc":[0-9.]*\|"sd":{"auc":[0-9.e-]*' all.json | sed 's/.*://' | awk '{printf "%s%.10f", (NR > 1 ? " " : ""), $1} END {print ""}' | cmp - want && echo same
echo "== resumed"
rm runs/seed-1/result.json runs/summary.json && sella train mf data -o runs --seeds 0,1,2 --resume --json | grep -o '"seeds":[^]]*]'; ls runs
sella train mf data --seeds 4,5 --dry-run | grep runs
echo "== usage" >&2
for words in "--seeds 0,1 --seed 3" "--seeds 0,,1" "--seeds 1,1" "--seeds x" "--seeds 0,1 -o runs" "--seeds 0 -o runs/seed-0" "--seeds 0"; do
    sella train mf data -o new $words; echo "exit $?" >&2; rm -rf new
done >/dev/null
sella eval runs --predictions p.csv; echo "exit $?" >&2
rm runs/seed-2/result.json; sella eval runs; echo "exit $?" >&2
