# A full disk under the feedback store: 507, nothing acknowledged that is not stored, recovery without restart. Needs curl and a mount of its own.
command -v curl >/dev/null || { echo "curl is needed"; exit 77; }
unshare -rm mount -t tmpfs none "$PWD" 2>/dev/null || { echo "a mount of its own is needed"; exit 77; }
. "$SELLA_ROOT/tests/cli/make_log.inc"
make_log log
"$SELLA" import split log -o data --noun movie --quiet >/dev/null
"$SELLA" train itembias data -o run --quiet >/dev/null
mkdir small
cat >inside.sh <<'END'
mount -t tmpfs -o size=512k none small || exit 1
"$SELLA" serve run --port 0 --json --quiet --threads 1 --store small/s.sqlite >up 2>warnings &
pid=$!
for i in $(seq 200); do [ -s up ] && break; sleep 0.05; done
url=$(sed 's/.*"url":"\([^"]*\)".*/\1/' up)
tell() { curl -s -o body -w '%{http_code}\n' -H 'Content-Type: application/json' -d "{\"user\":\"u\",\"item\":$1,\"label\":1,\"time\":$1,\"id\":\"e$1\"}" "$url/v1/feedback"; }
history() { curl -s "$url/v1/users/u" | grep -o '"item":"[0-9]*"' | tr -dc '0-9\n' | tr '\n' ' '; echo; }
tell 1
cat /dev/zero >small/filler 2>/dev/null
tell 2
cat body; echo
tell 3
history
curl -s -o /dev/null -w '%{http_code}\n' -H 'Content-Type: application/json' -d '{"user":"u","items":[1]}' "$url/v1/score"
rm small/filler
tell 3
tell 3 && cat body && echo
history
kill $pid
wait $pid
echo "exit $?"
grep -c 'database or disk is full' warnings
END
exec unshare -rm bash inside.sh
