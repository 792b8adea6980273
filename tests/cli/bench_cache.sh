# bench cache: its lines on a tiny model, as text and as JSON; wrong layers.
model="$SELLA_ROOT/tests/ref/tiny_llama"
number() { sed -E 's/[0-9]+\.[0-9]+(e[+-][0-9]+)?/#/g; s/ +[0-9]+%|  +-/ %/; s/: [0-9]+%/: #%/; s/ +[0-9]+  / # /; s/ +/ /g'; }
"$SELLA" bench cache --model "$model" --tokens 200 --row-tokens 60 --runs 2 --threads 1 --quiet 2>/dev/null | number
"$SELLA" bench cache --model "$model" --tokens 200 --row-tokens 60 --runs 1 --threads 1 --quiet --json 2>/dev/null | grep 'later epochs with cache' | head -n 1 |
    sed -E 's/("(seconds|rate|bound_share|rss_mb|cpu_seconds|foreign_load|work_ratio|speed_up|share)"):[^,}]*/\1:#/g'
for k in 0 2; do
    "$SELLA" bench cache --model "$model" --first-layer $k --threads 1 --quiet
    echo "exit $?"
done
"$SELLA" bench cache --threads 1 --quiet
echo "exit $?"
