# Amazon's reviews (2018, gzip) and RecBole's atomic files become data sets; what is missing or broken is said with its line.
review() { printf '{"overall": %s, "verified": true, "reviewerID": "%s", "asin": "%s", "reviewText": "so \\"so\\"", "unixReviewTime": %s}\n' "$3" "$1" "$2" "$4"; }
{ review A1 B1 5.0 1500000000; review A1 B2 2.0 1500000001; review A2 B1 4.0 1500000002; review A2 B3 5.0 1500000003; review A1 B2 3.0 1500000004; review A2 B2 5.0 1500000005; } >reviews.json
gzip -c reviews.json >reviews.json.gz
printf '%s\n' '{"asin": "B1", "also_buy": [], "title": "War &amp; Peace"}' '{"asin": "B2", "title": "Old"}' '{"asin": "B2", "title": "It&#39;s  &quot;new&quot;"}' >meta.json
"$SELLA" import amazon reviews.json.gz meta.json -o ds --fractions 0.6,0.4,0 --noun book --quiet --json | grep -o '"rejected".*'
cat ds/items.tsv
grep -A 22 '"source"' ds/dataset.json | sed 's/"xxh3": "[0-9a-f]\{16\}"/"xxh3": (16 digits)/'
"$SELLA" import amazon reviews.json.gz -o no; echo "exit $?" >&2
"$SELLA" import amazon meta.json reviews.json -o no; echo "exit $?" >&2
{ cat reviews.json; echo '{"overall": 9, "reviewerID": "A1", "asin": "B1", "unixReviewTime": 1}'; echo '{"overall": 5'; } >bad.json
"$SELLA" import amazon bad.json meta.json -o no --quiet; echo "exit $?" >&2
"$SELLA" import amazon bad.json meta.json -o bad --fractions 0.6,0.4,0 --noun book --quiet --skip-bad --json | grep -o '"rejected".*'
head -c 100 reviews.json.gz >cut.json.gz
"$SELLA" import amazon cut.json.gz meta.json -o no --skip-bad --quiet; echo "exit $?" >&2
printf 'user_id:token\titem_id:token\trating:float\ttimestamp:float\nu\ta\t5\t1\nu\tb\t1\t2\nv\ta\t4\t3\n' >x.inter
printf 'item_id:token\tmovie_title:token_seq\na\tAlien (1979)\nb\tHeat (1995)\n' >x.item
"$SELLA" import recbole x.inter x.item -o rec --fractions 1,0,0 --quiet | head -n 1
printf 'user_id:token\titem_id:token\ttimestamp:float\nu\ta\t5\n' >plain.inter
"$SELLA" import recbole plain.inter x.item -o no; echo "exit $?" >&2
printf 'user_id:token\titem_id:int\ttimestamp:float\nu\ta\t5\n' >int.inter
"$SELLA" import recbole int.inter x.item -o no; echo "exit $?" >&2
# What was left out is said also when nothing remains; a threshold of 0; a file without a header or of another kind.
printf 'user,item,rating,time,title\nu,a,five,1,A\n' >words.csv
"$SELLA" import csv words.csv -o no --skip-bad --quiet; echo "exit $?" >&2
printf 'user,item,rating,time,title\nu,a,1,1,A\nu,b,-1,2,B\nv,a,0,3,A\nv,b,-1,4,B\n' >signs.csv
"$SELLA" import csv signs.csv -o signs --like-at 0 --fractions 1,0,0 --quiet | grep label
grep like_at signs/dataset.json
"$SELLA" import split signs -o no --like-at 0; echo "exit $?" >&2
printf 'u,a,5,978300760,Alien\nv,b,4,978300761,Heat\n' >headless.csv
"$SELLA" import csv headless.csv -o no; echo "exit $?" >&2
printf 'user,item,rating,time,title\ru,a,5,1,A\r' >mac.csv
"$SELLA" import csv mac.csv -o no; echo "exit $?" >&2
"$SELLA" import movielens mac.csv -o no; echo "exit $?" >&2
ls
