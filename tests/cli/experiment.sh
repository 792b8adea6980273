# sella experiment on a tiny data set: collaborative rows, seeds, reuse, resuming, what is refused; then a figure and a table with a tiny random Llama.
. "$SELLA_ROOT/tests/cli/make_log.inc"
make_log log
"$SELLA" import split log -o data --quiet >/dev/null
try() { "$SELLA" experiment "$@" --quiet --threads 1 2>said; echo "exit $?" >>said; grep -v '^warning: left out' said >&2; }
echo "== plan"
try table3 data -o ex --seeds 0,1 --set collab.epochs=2 --dry-run --json | grep -o '"row": *"\(bias\|mf\)", *"seed": *[01], *"state": *"[a-z]*"'
[ -e ex ] && echo "a dry run wrote something"
echo "== run"
try table3 data -o ex --seeds 0,1 --set collab.epochs=2 2>/dev/null | sed -n '/^item mean/p;/^bias/p;/^MF/p;$p' | sed 's/0\.[0-9]*/0.x/g; s/^[0-9]* runs trained/N runs trained/'
echo "== again"
rm ex/runs/mf/seed-1/result.json ex/index.html
try table3 data -o ex --seeds 0,1 --set collab.epochs=2 2>/dev/null | tail -n 1 | sed 's/[0-9]* reused/N reused/'
ls ex ex/tables
cut -d, -f1 ex/tables/table3.csv | paste -sd' '
# the page's figures are those of the prediction files
want=$("$SELLA" metrics ex/runs/bias/seed-0/predictions-test.csv --draws 1 --json | grep -o '"auc":[0-9.]*' | head -n 1 | awk -F: '{ printf "%.4f", $2 }')
grep -c "<th>bias (control)</th><td class=\"n\">$want<span" ex/index.html
grep -o 'Figures are of all 160 test rows' ex/index.html
echo "== refused"
try table3 data -o ex --seeds 0,1
try table3 data -o ex --seeds 2 --set collab.epochs=3
ls ex/runs/mf
try table5 data -o ex
try table9 data -o ex
try table3 data -o ex --set collab.epoch=2
try table3 data -o ex --seeds 0,x
try table3 data -o ex --seeds 1,1 --set collab.epochs=2
try table3 data
try table3 log -o ex
rm log/test.tsv
"$SELLA" import split log -o half --quiet >/dev/null
try table3 half -o other
try table2 half -o other >/dev/null
try table3 half -o ex --split valid --set collab.epochs=2
echo "== with a model"
cp -r "$SELLA_ROOT/tests/ref/tiny_llama" model
small="--set train.rows=48 --set eval.rows=80 --set collab.epochs=2 --set collab.width=8 --set proj.hidden=8 --set stage2.epochs=2"
try fig8 half -o lm --split valid --model model $small --user 100 | tail -n 1
grep -o 'User 100, item [0-9]*' lm/index.html
# figure 8 is of a row of valid as evaluation scores it: with the history before that row
item=$(grep -o 'User 100, item [0-9]*' lm/index.html | sed 's/.* //')
"$SELLA" eval lm/runs/sella/seed-0 --split valid --model model --predictions rows.csv --quiet >/dev/null
score=$(awk -F, -v item="$item" '$1 == 100 && $2 == item { printf "%.4f\n", $4 }' rows.csv | head -n 1)
grep -c "User 100, item $item ([^)]*([0-9]*)), score $score\\. .* what the user had liked before\\." lm/index.html
grep -c '<th>warm <small>&lt;Warm_ID&gt;</small>' lm/index.html
awk -F, '/^[0-9]/ { s = 0; for (i = 1; i <= NF; i++) s += $i; if (s < 0.999 || s > 1.001) print "row " NR " sums to " s }' lm/figures/fig8.csv
try fig7 half -o lm --split valid --model model $small --json >all.json
try table6 half -o lm --split valid --model model $small --json >>all.json
for row in sella noalign step0 step0-wo; do grep -o "\"row\":\"$row\",[^}]*\"state\":\"[a-z]*\"" all.json | sed 's/"label.*"state"/"state"/'; done
grep -o '"from": *"[^"]*runs/[a-z0]*/seed-0"' lm/runs/{noalign,step0-proj}/seed-0/run.json | sed 's|"/.*/lm/|"|;s/: *"/: "/g'
ls lm/tables lm/figures/fig*.csv
wc -l <lm/figures/fig7.csv
grep -c 'seeded sample of <b>48 of the 640</b> train rows' lm/index.html
sed -i 's/"rms_norm_eps": [0-9.e-]*/"rms_norm_eps": 0.001/' model/config.json
try table4 half -o lm --split valid --model model $small
