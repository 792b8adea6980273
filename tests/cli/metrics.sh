# sella metrics: tables, JSON, standard input, and what it refuses (the figures are checked against scikit-learn in test_eval_metrics).
cat >all.csv <<'END'
user,item,label,score,warm
a,1,1,0.75,1
a,2,0,0.25,1
b,1,1,0.5,0
b,3,0,0.5,0
"c,d",1,1,0.75,0
END
"$SELLA" metrics all.csv
"$SELLA" metrics all.csv --draws 0
"$SELLA" metrics all.csv --draws 20 --seed 3 --json
"$SELLA" metrics all.csv --draws 20 --seed 3 --json --threads 1 >one; "$SELLA" metrics - --draws 20 --seed 3 --json --threads 2 <all.csv >two; cmp one two
printf 'label,score,user,item,more\r\n1,2.5,u,i,x\r\n0,-1,u,j,"y\nz"\r\n' >ranks.csv
"$SELLA" metrics ranks.csv --json --draws 3
printf 'user,item,label,score\nu,1,1,.5\n' >one_class.csv
"$SELLA" metrics one_class.csv
printf 'user,item,label,score,warm\nu,1,1.0,.5,1.0\nu,2,0.0,.25,0.0\n' >reals.csv
"$SELLA" metrics reals.csv --draws 0
try() { "$SELLA" metrics "$@"; echo "exit $?" >&2; }
try
try none.csv
try all.csv --draws -1
try all.csv --draw 5
try all.csv all.csv
printf 'user,item,label\n' >column.csv; try column.csv
printf 'user,item,label,score\nu,1,1,nan\n' >nan.csv; try nan.csv
printf 'user,item,label,score\nu,1,1,.5\nu,1,3,.5\n' >label.csv; try label.csv
printf 'user,item,label,score\nu,1,1.5,.5\n' >half.csv; try half.csv
printf 'user,item,label,score\n' >empty.csv; try empty.csv
try - </dev/null
