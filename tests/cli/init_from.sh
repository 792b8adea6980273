# --init-from: a run goes on from another one on data that has grown; what does not fit is refused before any work.
. "$SELLA_ROOT/tests/cli/make_log.inc"
make_log log
sella() { "$SELLA" "$@" --quiet --threads 1; } # tiny: threads would only wait for each other
sella import split log -o data --noun movie >/dev/null
printf '25\tThe Zephyr (2005)\n' >>log/items.tsv
printf '200\t25\t1\t1000990000\t1\t0\n' >>log/train.tsv
sella import split log -o grown --noun movie >/dev/null
sella train mf data -o first --set collab.width=4 --set collab.epochs=3 >/dev/null
sella train mf grown -o second --init-from first --set collab.width=4 --set collab.epochs=2 >/dev/null
tr -d ' "' <second/run.json | grep -o 'init_from[.a-z]*:[0-9][0-9]*' | sort
tr -d ' "' <second/run.json | grep -c 'init_from:/.*/first'
"$SELLA" train mf grown -o third --init-from first --set collab.width=4 --set collab.epochs=1 --threads 1 2>&1 >/dev/null | grep 'starting from' | sed 's|from /.*/|from |'
sella train mf grown -o wide --init-from first --set collab.width=8 2>&1 | sed 's|/.*/||'
sella train bias grown -o none --init-from first
sella train mf grown -o none --init-from nowhere 2>&1 | sed 's|/.*/||'
ls -d wide none 2>/dev/null | wc -l
