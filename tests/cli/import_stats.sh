# A log becomes a data set; stats reads it back; mistakes are one sentence and leave nothing.
cat >log.csv <<'END'
who;what;stars;when;name
u1;a;5;2020-01-01;"Alpha; the ""first"""
u1;b;2;2020-01-02;Beta
u2;a;4;2020-01-03;Alpha
u2;c;1;2020-01-04;Gamma
u1;c;5;2020-01-05;Gamma
u2;b;3;2020-01-06;Beta
u3;a;5;2020-01-07;Alpha
u3;b;1;2020-01-08;Beta
u1;d;4;2020-01-09;Delta
u4;d;2;2020-01-10;Delta
END
map=user=who,item=what,rating=stars,time=when,title=name
"$SELLA" import csv log.csv -o ds --columns $map --fractions 0.6,0.2,0.2 --noun book --quiet
echo "exit $?"
sed -n 2,5p ds/items.tsv
"$SELLA" stats ds --json >stats.json && "$SELLA" stats ds | head -n 1
"$SELLA" import csv log.csv -o again --columns $map --fractions 0.6,0.2,0.2 --noun book --quiet --json | sed 's/,"rejected":{}//' | cmp - stats.json && echo "the same"
"$SELLA" import csv log.csv -o ds --columns $map; echo "exit $?" >&2
"$SELLA" import csv log.csv -o new; echo "exit $?" >&2
"$SELLA" import csv log.csv -o new --columns user=who,sku=what; echo "exit $?" >&2
"$SELLA" import parquet log.csv -o new; echo "exit $?" >&2
"$SELLA" import csv log.csv; echo "exit $?" >&2
"$SELLA" import csv log.csv -o new --columns $map --like-at 9; echo "exit $?" >&2
"$SELLA" stats nowhere; echo "exit $?" >&2
printf 'u4;d;NaN;2020-01-10;Delta\nu4;d\n' >>log.csv
"$SELLA" import csv log.csv -o new --columns $map; echo "exit $?" >&2
"$SELLA" import csv log.csv -o new --columns $map --fractions 0.6,0.2,0.2 --skip-bad --json | grep -o '"rejected".*'
printf 1 >>ds/train/label.npy
"$SELLA" stats ds; echo "exit $?" >&2
ls
