# din and ctrl-din on a small log: train, what each stage left, recommend and score without the language model, wrong settings.
. "$SELLA_ROOT/tests/cli/make_log.inc"
make_log log
sella() { "$SELLA" "$@" --quiet --threads 1; } # tiny: threads would only wait for each other
try() { "$SELLA" "$@" --quiet --threads 1; echo "exit $?" >&2; }
sella import split log -o data --noun movie >/dev/null
sella train din data -o din --set collab.epochs=4 | head -n 1
cp -r "$SELLA_ROOT/tests/ref/tiny_llama" model
sella train ctrl-din data -o ctrl --model model --set train.rows=100 --set ctrl.epochs=2 --set collab.epochs=4 | head -n 1
rm -r model
echo "== stages"
sella inspect ctrl | sed -n '/^component/,/^$/p'
sella inspect ctrl/stages/text/text.safetensors | tail -n 1
echo "== use"
sella eval ctrl --json | sed 's/"auc.*//'
sella recommend ctrl --user 100 -k 2 --json | sed 's/"score": *[0-9.e-]*/"score":S/g; s/"item":"[0-9]*"/"item":I/g; s/"title":"[^"]*"/"title":T/g'
printf 'user,item,history\n100,1,\nnobody,2,"The Amber (1981); 3"\n' | sella score din - | cut -d, -f1,2
echo "== refused"
try train ctrl-din data -o none
try train din data -o none --set collab.history_length=0
try train din data -o none --set din.top_1=0
try train ctrl-din data -o none --model nowhere --set ctrl.subspaces=3
ls -d none 2>&1
