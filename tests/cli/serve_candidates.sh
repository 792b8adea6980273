# A bench of candidates against a small served run: fresh sets for one user, and what it refuses.
mkdir in
h='uid\tiid\tlabel\ttimestamp\tnot_cold\this\n'
{ printf 'iid\ttitle\n'; for i in $(seq 60); do printf '%d\tTitle %d (1990)\n' "$i" "$i"; done; } >in/items.tsv
{ printf "$h"; for i in $(seq 60); do printf 'u1\t%d\t%d\t%d\t1\t0%s\n' "$i" "$((i % 2))" "$((10 + i))" "$([ "$i" = 1 ] || echo " 1")"; done; } >in/train.tsv
{ printf "$h"; printf 'u1\t4\t1\t90\t1\t0 1\nu1\t6\t0\t91\t1\t0 1\n'; } >in/valid.tsv
"$SELLA" import split in -o data --noun movie --quiet >/dev/null
"$SELLA" train itembias data -o run --quiet >/dev/null
"$SELLA" serve run --port 0 --json --quiet --threads 1 --access-log access.jsonl >up &
pid=$!
trap 'kill -9 $pid 2>/dev/null' EXIT
for i in $(seq 200); do [ -s up ] && break; sleep 0.05; done
url=$(sed 's/.*"url":"\([^"]*\)".*/\1/' up)
bench() { "$SELLA" bench serve --url "$url" --seconds 0.3 "$@" >out 2>err; echo "exit $?"; sed "s|$url|URL|g" err; }
bench --candidates 20 --user u1 --json
sed 's/.*"work":"\([^"]*\)".*"errors":\([0-9]*\).*"titles":\([0-9]*\).*/\1; errors \2; titles \3/' out
echo "score requests answered with something else than 200: $(grep '"/v1/score"' access.jsonl | grep -vc '"status":200')"
[ "$(grep -c '"/v1/score"' access.jsonl)" -gt 2 ] && echo "more than two sets"
bench --candidates 61 --user u1
bench --candidates 20 --user nobody
bench --candidates 20
bench --candidates 20 --user u1 --path /health
kill $pid
wait $pid
bench --candidates 20 --user u1
