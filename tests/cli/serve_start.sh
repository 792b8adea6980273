# A server that cannot start leaves nothing behind and says what to do; a folder with a short name does not spoil messages. Needs curl and a mount of its own.
command -v curl >/dev/null || { echo "curl is needed"; exit 77; }
unshare -rm mount -t tmpfs none "$PWD" 2>/dev/null || { echo "a mount of its own is needed"; exit 77; }
. "$SELLA_ROOT/tests/cli/make_log.inc"
make_log log
"$SELLA" import split log -o data --noun movie --quiet >/dev/null
"$SELLA" train itembias data -o a --quiet >/dev/null
serve() { "$SELLA" serve "$@" --port 0 --json --quiet --threads 1; }
echo "== no run" >&2
serve data
ls data | grep feedback
serve nothing
echo "== a run that cannot be written" >&2
unshare -rm bash -c 'mount --bind a a && mount -o remount,ro,bind a && exec "$SELLA" serve a --port 0 --quiet --threads 1'
echo "== a folder called a" >&2
"$SELLA" serve a --port 0 --json --quiet --threads 1 >up &
pid=$!
trap 'kill -9 $pid 2>/dev/null' EXIT
for i in $(seq 200); do [ -s up ] && break; sleep 0.05; done
url=$(sed 's/.*"url":"\([^"]*\)".*/\1/' up)
curl -s -H 'Content-Type: application/json' -d '{"user":"u","items":["none at all"]}' "$url/v1/score"; echo
curl -s "$url/v1/items?query="; echo
kill $pid
wait $pid
echo "exit $?"
