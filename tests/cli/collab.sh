# lightgcn and sasrec from the command line: train, look, score users never seen; what a score depends on; settings that cannot be.
. "$SELLA_ROOT/tests/cli/make_log.inc"
make_log log
sella() { "$SELLA" "$@" --quiet --threads 1; }
sella import split log -o data --noun movie >/dev/null
for method in lightgcn sasrec; do
    sella train $method data -o $method --set collab.epochs=4 --set collab.width=8 --set collab.lr=1e-2 >/dev/null && ls $method/stages $method/collab.safetensors
    sella eval $method --json | sed 's/"auc":.*//'
    sella inspect $method --json | grep -o "\"$method\.[a-z0-9.]*weight\"" | sort -u | head -n 4
done
echo "== the order of the history counts for sasrec alone"
printf 'user,item,history\nnobody,5,1;2;3\nnobody,5,3;2;1\n' >pairs.csv
for method in lightgcn sasrec; do
    sella score $method pairs.csv | awk -F, -v m=$method 'NR > 1 { s[NR] = sprintf("%.5f", $NF) } END { print m, s[2] == s[3] ? "same" : "other" }'
done
echo "== the graph counts: other negatives, other edges"
sella train lightgcn data -o bpr --set collab.epochs=4 --set collab.width=8 --set lightgcn.loss=bpr >/dev/null && cmp -s bpr/collab.safetensors lightgcn/collab.safetensors || echo "bpr is another model"
echo "== refused"
sella train sasrec data -o no --set sasrec.heads=5; echo "exit $?"
sella train sasrec data -o no --set collab.history_length=0; echo "exit $?"
sella train lightgcn data -o no --set lightgcn.layers=17; echo "exit $?"
sella train lightgcn data -o no --preset fast; echo "exit $?"
head -c 2000 sasrec/collab.safetensors >cut && mv cut sasrec/collab.safetensors
sella score sasrec pairs.csv; echo "exit $?"
