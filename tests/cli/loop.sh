# The whole loop on a small log: import, stats, train bias, eval, score, recommend, metrics, compare.
# The scores of bias, their AUC (.58361) and UAUC (.58310, 24 users) on test were checked once against scipy's L-BFGS and scikit-learn.
. "$SELLA_ROOT/tests/cli/make_log.inc"
make_log log
sella() { "$SELLA" "$@" --quiet --threads 1; } # tiny: threads would only wait for each other
sella import split log -o data --noun movie >/dev/null
sella stats data --json
sella train itembias data -o itembias >/dev/null
sella train bias data -o bias
echo "== eval"
sella eval bias --by warm
sella eval bias --split valid --json
sella eval bias --rows 50 --seed 1 --predictions sample.csv --json
wc -l bias/predictions-test.csv sample.csv
head -n 3 bias/predictions-test.csv
echo "== score"
printf 'user,item,history,note\n100,1,,"a, b"\nnobody,2,"The Amber (1981); 3",c\n100,3,4;5,\n' >pairs.csv
sella score bias pairs.csv
sella score bias - -o scored.csv <pairs.csv && sella score bias pairs.csv | cmp - scored.csv && echo same
echo "== recommend"
sella recommend bias --user 100 -k 3
sella recommend bias --user 100 -k 1 --json
sella recommend bias --history "the amber (1981);2" -k 2
printf '5\n\n 7 \n5\n' >few.txt
sella recommend bias --user nobody --candidates few.txt
echo "== metrics, compare"
sella eval itembias >/dev/null
sella metrics bias/predictions-test.csv
sella metrics bias/predictions-test.csv --json
sella compare bias/predictions-test.csv itembias/predictions-test.csv --json
echo "== inspect"
sella inspect bias | sed '/^settings/,$d'
sella inspect data --json | cut -c 1-60
"$SELLA_TEST_OUT/example-score_candidates" bias 100 1 2 3
