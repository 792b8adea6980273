# sella compare: same rows in the same or another order, and the first line that differs.
cat >a.csv <<'END'
user,item,label,score
a,1,1,0.75
a,2,0,0.25
b,1,1,0.5
b,3,0,0.25
c,4,0,0.125
END
cat >b.csv <<'END'
item,user,label,score
4,c,0,0.75
3,b,0,0.25
1,b,1,0.125
2,a,0,0.5
1,a,1,0.625
END
"$SELLA" compare a.csv b.csv
"$SELLA" compare a.csv b.csv --json --draws 50 --seed 1
"$SELLA" compare a.csv a.csv --draws 7
try() { "$SELLA" compare "$@"; echo "exit $?" >&2; }
sed '4s/b,1,1/b,1,0/' a.csv >label.csv; try a.csv label.csv
sed '3s/a,2/a,9/' a.csv >item.csv; try a.csv item.csv
sed 5d a.csv >short.csv; try a.csv short.csv; try short.csv a.csv
sed '4s/b,1/a,1/' a.csv >twice.csv; try a.csv twice.csv
try a.csv
try a.csv b.csv --draws 0
try a.csv missing.csv
