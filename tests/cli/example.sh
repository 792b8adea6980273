# The example program scores what the command scores, through the library's public headers.
. "$SELLA_ROOT/tests/cli/make_log.inc"
example=$(dirname "$SELLA")/example-score_candidates
[ -x "$example" ] || { echo "no $example: make unit-bins builds it"; exit 77; }
make_log log
"$SELLA" import split log -o data --quiet >/dev/null
"$SELLA" train mf data -o run --set collab.epochs=20 --quiet --threads 1 >/dev/null
same() { # what the example printed as item<TAB>score, and the score column of sella score, agree to the example's six digits
    paste "$1" <(tail -n +2 "$2" | awk -F, '{ printf "%.6f\n", $NF }') | awk '{ print $1, $2 == $3 ? "equal" : "differs: " $2 " " $3 }'
}
"$example" run 100 3 1 2 >a && printf 'user,item\n100,3\n100,1\n100,2\n' | "$SELLA" score run - --quiet >b && same a b
"$example" run --history "The Amber (1981);The Dawn (1984)" 5 >a && printf 'user,item,history\nx,5,The Amber (1981);The Dawn (1984)\n' | "$SELLA" score run - --quiet >b && same a b
printf 'user,item\n100,3\n100,1\n' | "$SELLA" score run - --quiet >b && printf 'user,item\n100,3\n100,1\n' | "$SELLA" score run - -o scored.csv --quiet && cmp b scored.csv && echo "standard input is scored into a file"
"$example" run 100 77; echo "exit $?" >&2
"$example" nowhere 100 1; echo "exit $?" >&2
