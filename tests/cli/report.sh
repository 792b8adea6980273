# sella report: runs of several seeds in one page, hostile names, what is unfinished, broken or missing.
. "$SELLA_ROOT/tests/cli/make_log.inc"
make_log log
"$SELLA" import split log -o '<b>data' --quiet >/dev/null
for seed in 0 1 2; do "$SELLA" train mf '<b>data' -o runs/mf/seed-$seed --seed $seed --set collab.epochs=5 --quiet --threads 1 >/dev/null; done
"$SELLA" train bias '<b>data' -o "runs/<script>alert(1)<script>" --quiet --threads 1 >/dev/null
mkdir -p runs/broken runs/half && echo '{"method": 1}' >runs/broken/run.json
cp runs/mf/seed-0/run.json runs/half/
"$SELLA" report runs -o page 2>warnings; echo "exit $?"
grep -o 'left out: runs/broken.*' warnings; grep -c 'gnuplot is not installed' warnings | grep -qx '[01]' || cat warnings
grep -c '<script>' page/index.html
grep -o '&lt;script&gt;alert(1)&lt;script&gt; <small>bias</small> <small>control</small>' page/index.html
# the mean of the three seeds, computed from their result.json by another program
mean=$(cat runs/mf/seed-?/result.json | awk -F'[:,]' '/^  "auc"/ { s += $2 } END { printf "%.4f", s / 3 }')
grep -qE "<tr><th>mf</th><td class=\"n\">$mean<span" page/index.html && echo "mean of seeds is there"
grep -o '<dt>seeds</dt><dd>[^<]*' page/index.html
ls page/figures/*.csv page/figures/*.gp
grep -ciE 'src=|https?://[^w]|@import' page/index.html
"$SELLA" report runs/mf -o page --json --quiet 2>/dev/null | sed 's/"drawn": *[a-z]*/"drawn":?/'
"$SELLA" report runs/broken -o page; echo "exit $?"
"$SELLA" report log -o page; echo "exit $?"
"$SELLA" report nowhere -o page; echo "exit $?"
"$SELLA" report runs; echo "exit $?"
