# What goes wrong with a run, in one sentence each; nothing is half-written.
. "$SELLA_ROOT/tests/cli/make_log.inc"
make_log log
try() { "$SELLA" "$@" --quiet --threads 1 >out; echo "exit $?" >&2; [ -s out ] && { echo "printed by: $*"; cat out; }; }
"$SELLA" import split log -o data --noun movie --quiet >/dev/null
"$SELLA" train bias data -o run --quiet >/dev/null
try train bias data -o run
try train bias nowhere -o other
try train bais data -o other
try train bias data -o other --set stage1.lrr=1
try train tallrec data -o other
try train bias data -o other --preset fast
[ -e other ] && echo "other is there"
try eval nowhere
try eval run --data nowhere
try eval run --model m.gguf
try eval run --predictions /proc/p.csv
try recommend run --user 100 --history "The Ambr (1981)"
try recommend run --user 100 --history "no such thing at all"
try recommend run --user 100 --candidates nowhere.txt
printf '1\n99\n' >c.txt; try recommend run --user 100 --candidates c.txt
printf '1\n\xff\n' >c.txt; try recommend run --user 100 --candidates c.txt
: >c.txt; try recommend run --user 100 --candidates c.txt
printf 'user,item\n100,1\n100\n' >p.csv; try score run p.csv
printf 'user,item\n100,99\n' >p.csv; try score run p.csv -o scored.csv
printf 'user;thing\n1;2\n' >p.csv; try score run p.csv
printf 'user,item\n100,\xff\n' >p.csv; try score run p.csv
: >p.csv; try score run p.csv
try score run nowhere.csv
[ -e scored.csv ] && echo "scored.csv is there"
printf 'user,item\n100,1\n' >pairs.csv
try inspect prompt run --split valid --row 0
"$SELLA" recommend run --user 100 --quiet >/dev/full; echo "exit $?" >&2
"$SELLA" score run pairs.csv --quiet >/dev/full; echo "exit $?" >&2
echo "== a damaged run"
cp -r run broken && head -c 100 run/collab.safetensors >broken/collab.safetensors; try eval broken
rm -r broken; cp -r run broken; printf '{' >broken/run.json; try eval broken; try inspect broken
rm -r broken; cp -r run broken; rm broken/items.tsv; try recommend broken --user 100
rm -r broken; cp -r run broken; rm broken/result.json; try eval broken
rm -r broken; cp -r run broken; sed -i 's/"method": "bias"/"method": "magic"/' broken/run.json; try eval broken
echo "== another data set in the same place"
awk 'NR > 1 && NR % 5 == 0 { $3 = 1 - $3 } 1' OFS='\t' FS='\t' log/valid.tsv >x && mv x log/valid.tsv
awk 'BEGIN { FS = OFS = "\t" } NR > 1 { $6 = "0" } 1' log/valid.tsv >x && mv x log/valid.tsv
mv data old; "$SELLA" import split log -o data --noun movie --quiet >/dev/null
try eval run
try train bias data -o run --resume
rm -r data; try eval run
true
