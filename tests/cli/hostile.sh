# What a new user mistypes and what an attacker sends, told in one sentence each; nothing is half-written and nothing of others is touched.
. "$SELLA_ROOT/tests/cli/make_log.inc"
make_log log
try() { "$SELLA" "$@" --quiet --threads 1; echo "exit $?" >&2; }
"$SELLA" import split log -o data --quiet >/dev/null
"$SELLA" train mf data -o run --set collab.epochs=2 --quiet --threads 1 >/dev/null
echo "== settings" >&2
try train itembias data -o unused --model nowhere >/dev/null
try train mf data -o ""
try train mf data -o new --set $'template=\xff'
printf 'stage1:\n  lr: 1e-3\n  lr: 2e-3\n' >c.yaml; try train mf data -o new --config c.yaml
printf 'stage1.lr: 1e-3\nstage1:\n  lr: 1e-3\n' >c.yaml; try train mf data -o new --config c.yaml
printf 'collab: &a [*a]\n' >c.yaml; try train mf data -o new --config c.yaml
printf 'collab.lr: "\xc3\x28"\n' >c.yaml; try train mf data -o new --config c.yaml
printf 'collab.lr: .nan\n' >c.yaml; try train mf data -o new --config c.yaml
echo "== the run's folder" >&2
mkdir new.partial && echo mine >new.partial/file
"$SELLA" train itembias data -o "new ü" --threads 1 2>&1 >/dev/null | head -n 2
"$SELLA" train itembias data -o new --quiet --threads 1 >/dev/null && cat new.partial/file
try train mf data -o run --resume --seed 3
sed -i 's/"collab.lr": 0.001/"collab.lr": "fast"/' new/run.json && try eval new --split valid
(ulimit -f 2; exec "$SELLA" train mf data -o large --quiet --threads 1) 2>&1 | sed 's/-[0-9]*\//-PID\//'
(ulimit -f 2; exec "$SELLA" import split log -o large --quiet) 2>&1 | sed 's/-[0-9]*\//-PID\//'
ls -d large* 2>/dev/null
echo "== leftovers of a kill are swept when the run goes on"
rm run/result.json && echo half >run/collab.safetensors.new-123-456 && echo kept >run/notes.new-1
"$SELLA" train mf data -o run --resume --quiet --threads 1 >/dev/null; ls run | grep new-
echo "== places that cannot be written are told before the work" >&2
"$SELLA" eval run --split valid --predictions none/p.csv; echo "exit $?" >&2
for n in 1 2 3 4 5 6 7 8 9; do yes 100,1 | head -n 100000; done | cat <(echo user,item) - >many.csv
"$SELLA" score run many.csv -o /dev/full --quiet; echo "exit $?" >&2
echo "== candidates" >&2
printf '\xef\xbb\xbf2\r\n2\r\n24\r\n' >c.txt; "$SELLA" recommend run --user 100 --candidates c.txt --include-seen --quiet --json | grep -o '"item":"[0-9]*"' | sort
"$SELLA" recommend run --history "$(seq -s ';' 24)" --json
echo "== a line of 64 MB, a log that is all quotes, a device" >&2
{ printf 'user,item,rating,time,title\n'; head -c 67108864 /dev/zero | tr '\0' a; } >big.csv
try import csv big.csv -o big
try score run big.csv
try metrics big.csv
{ printf 'user,item,rating,time,title\n1,"'; head -c 67108864 /dev/zero | tr '\0' '\n'; } >big.csv
try import csv big.csv -o big
try import csv /dev/zero -o big
ls -d big big.import* 2>/dev/null
true
