# Wrong usage: one sentence on stderr, the nearest known name, exit 2, nothing on stdout.
for words in docto frobnicate --json "help docto" "doctor --thread 2" "doctor --threads 0" "doctor --threads 2x" "doctor more" "doctor --quiet --verbose"; do
    "$SELLA" $words
    echo "exit $?" >&2
done
"$SELLA" doctor >/dev/full
echo "exit $?" >&2
