# A full disk under the feedback store: 507, nothing acknowledged that is not stored (of a batch: nothing at all), the other answers go on, recovery without restart. Needs curl and a mount of its own.
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
post() { curl -s -o body -w '%{http_code}\n' -H 'Content-Type: application/json' "${@:3}" -d "$2" "$url$1"; }
tell() { post /v1/feedback "{\"user\":\"u\",\"item\":$1,\"label\":1,\"time\":$1,\"id\":\"e$1\"}"; }
history() { curl -s "$url/v1/users/$1" | grep -o '"item":"[0-9]*"' | tr -dc '0-9\n' | tr '\n' ' '; echo; }
# From where to where, about items 1 and 2 in turn, by the user v.
batch() { seq "$1" "$2" | sed 's/.*/{"user":"v","item":&,"label":1,"time":&,"id":"b&"}/; s/"item":[0-9]*[13579],/"item":1,/; s/"item":[0-9]\{2,\},/"item":2,/' | paste -sd, | sed 's/.*/[&]/' >batch.json; post /v1/feedback @batch.json; }
tell 1
echo "--- no room at all"
cat /dev/zero >small/filler 2>/dev/null
tell 2
cat body; echo
tell 3
batch 11 40
cat body; echo
history u
history v
echo "--- what writes nothing goes on"
post /v1/score '{"user":"u","items":[1]}'
post /v1/recommend '{"user":"u","k":2}'
post /v1/recommend '{"user":"u","k":2}' -H 'Accept: application/x-ndjson'
grep -o '"event":"[a-z]*"' body
post /v1/explain '{"user":"u","item":1}'
curl -s -o body -w '%{http_code}\n' "$url/ready"
echo "--- room again"
rm small/filler
tell 3
tell 3 && cat body && echo
batch 11 40
cat body; echo
batch 31 50
cat body; echo
history u
history v
echo "--- a batch that is larger than the disk, until that grows"
batch 11 10010
cat body; echo
history v
mount -o remount,size=16m small
batch 11 10010
cat body; echo
kill $pid
wait $pid
echo "exit $?"
grep -c 'database or disk is full' warnings
END
exec unshare -rm bash inside.sh
