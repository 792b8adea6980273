# Methods with a language model, on a tiny random Llama: train, eval --data on a data set with a test part, inspect prompt, recommend; the model at another place.
. "$SELLA_ROOT/tests/cli/make_log.inc"
make_log log
mkdir whole && cp log/* whole && rm log/test.tsv
cp -r "$SELLA_ROOT/tests/ref/tiny_llama" model
sella() { "$SELLA" "$@" --quiet --threads 1; } # tiny: threads would only wait for each other
try() { "$SELLA" "$@" --quiet --threads 1; echo "exit $?" >&2; }
sella import split log -o data --noun movie >/dev/null
sella import split whole -o whole-data --noun movie >/dev/null
sella train tallrec data -o tallrec --model model --set train.rows=100 --set eval.rows=60
try train sella data -o refused --model model --from tallrec --preset paper
sella train sella data -o sella --model model --preset paper --set train.rows=64 --set lora.rank=4 --set collab.width=8 --set proj.hidden=8 --set stage2.epochs=3 --json
sella train sella data -o default --model model --from tallrec --set train.rows=100 --set eval.rows=60 --set collab.width=8 --set proj.hidden=8 --set stage2.epochs=2 | head -n 1
sella train sella data -o fast --model model --preset fast --set train.rows=64 --set collab.width=8 --set proj.hidden=8 --json
echo "== eval"
sella eval tallrec --data whole-data --by warm
sella eval sella --data whole-data --json
sella eval fast --data whole-data --json
echo "== table 1"
sella inspect sella | sed -n '/^component/,/^$/p'
echo "== prompt"
sella inspect prompt sella --split valid --row 5
for row in 0 5 159; do # the score now is the score then
    now=$(sella inspect prompt sella --split valid --row $row --json | sed 's/.*"score": *\([0-9.e-]*\).*/\1/')
    then=$(sed -n "$((row + 2))p" sella/predictions-valid.csv | cut -d, -f4)
    awk -v a="$now" -v b="$then" 'BEGIN { d = a - b; print (a > 0 && d < 1e-5 && d > -1e-5) ? "equal" : "differ: " a " " b }'
done
sella inspect prompt tallrec --data whole-data --split test --row 7 --json | cut -c 1-40
try inspect prompt tallrec --split test --row 0
try inspect prompt tallrec --split valid --row 160
try inspect prompt fast --split valid --row 0
echo "== recommend"
sella recommend sella --user 100 -k 3
sella recommend sella --history "The Amber (1981);The Unheard Of (1999)" --free-titles -k 2 --json
sella recommend fast --history "The Amber (1981)" -k 2
printf 'user,item,history,title\n100,1,,\n7777,99,The Dawn (1984),A Film Nobody Has (2024)\n' | sella score sella -
echo "== the model"
mv model elsewhere
try recommend tallrec --user 100 -k 1
sella recommend tallrec --user 100 -k 1 --model elsewhere
try recommend tallrec --user 100 -k 1 --model "$SELLA_ROOT/tests/ref/backbone_qwen2"
try train tallrec data -o other --model nowhere
