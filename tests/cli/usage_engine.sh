# Wrong usage of train, eval, score, recommend, inspect, bench: exit 2, at most three lines, the nearest name.
try() { "$SELLA" "$@"; echo "exit $?" >&2; }
try train
try train sella data
try train sella data -o run --modle x
try train sella data -o run --preset papre
try train sella data -o run --seed -1
try eval
try eval run --split tset
try eval run --rows 0
try score run
try score run pairs.csv --json
try recommend run
try recommend run --user 1 -k 0
try recommend run --user 1 --candidate x
try serve
try serve run --prot 80
try serve run --port 70000
try serve run --timeout 0
try inspect
try inspect prompt
try inspect a b
try inspect a --row 3
try inspect a --logits-of Yes
try inspect prompt run --text x
try bench
try bench gem
try bench score
try bench gemm --tokens 3
