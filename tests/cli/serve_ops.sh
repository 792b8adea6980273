# A server as it is operated: a key, TLS, the access log, reload, stop. Needs curl and openssl.
command -v curl >/dev/null && command -v openssl >/dev/null || { echo "curl and openssl are needed"; exit 77; }
. "$SELLA_ROOT/tests/cli/make_log.inc"
make_log log
"$SELLA" import split log -o data --noun movie --quiet >/dev/null
"$SELLA" train itembias data -o run --quiet >/dev/null
"$SELLA" train bias data -o run2 --quiet >/dev/null
echo 'correct-horse-battery' >key
openssl req -x509 -newkey rsa:2048 -nodes -keyout tls.key -out tls.pem -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 2>/dev/null || exit 1
"$SELLA" serve run --port 0 --json --quiet --threads 1 --api-key-file key --tls-cert tls.pem --tls-key tls.key --access-log access.jsonl >up &
pid=$!
trap 'kill -9 $pid 2>/dev/null' EXIT
for i in $(seq 200); do [ -s up ] && break; sleep 0.05; done
url=$(sed 's/.*"url":"\([^"]*\)".*/\1/' up)
ask() { curl -s --cacert tls.pem -o body -w '%{http_code}\n' "$@"; }
echo "== key"
ask "$url/health"
ask "$url/v1/model" && cat body && echo
ask "$url/nothing"
ask -H 'X-API-Key: correct-horse-batterz' "$url/v1/model"
ask -H 'Authorization: Bearer correct-horse-battery' "$url/v1/model"
ask -H 'X-API-Key: correct-horse-battery' "$url/metrics"
ask -u anyone:correct-horse-battery "$url/v1/model"
ask "$url/"
curl -s --cacert tls.pem -D - -o /dev/null "$url/v1/model" | grep -i '^www-auth'
curl -s -o /dev/null "http${url#https}/health" || echo "no plain HTTP"
echo "== scores are those of sella score"
printf 'user,item\n100,1\n100,2\nnobody,3\n' >pairs.csv
method() { ask -H "X-API-Key: correct-horse-battery" "$url/v1/model" >/dev/null; sed "s/.*\"method\":\"\([a-z]*\)\".*/\1/" body; echo; }
compare() {
    "$SELLA" score "$1" pairs.csv --quiet --threads 1 | tail -n +2 | while IFS=, read -r user item score; do
        curl -s --cacert tls.pem -H 'X-API-Key: correct-horse-battery' -H 'Content-Type: application/json' -d "{\"user\":\"$user\",\"items\":[$item]}" \
            "$url/v1/score" | sed 's/.*"score":\([0-9.e-]*\).*/\1/' | awk -v want="$score" '{ d = $1 - want; print (d < 1e-5 && d > -1e-5) ? "same" : "served " $1 ", scored " want }'
    done
}
method
compare run
echo "== reload"
mv run run1 && ln -s run2 run
kill -HUP $pid
for i in $(seq 200); do [ "$(method)" = bias ] && break; sleep 0.05; done
method
compare run2
rm run && ln -s nowhere run
kill -HUP $pid
sleep 0.3
method
echo "== log"
mv access.jsonl old.jsonl
rm run && ln -s run1 run
kill -HUP $pid
for i in $(seq 200); do [ "$(method)" = itembias ] && break; sleep 0.05; done
[ -s access.jsonl ] && echo reopened
head -n 1 old.jsonl | sed 's/"time":"[^"]*"/"time":"T"/; s/_us":[0-9][0-9]*/_us":N/g; s/"us":[0-9][0-9]*/"us":N/'
cat old.jsonl access.jsonl | grep -c correct-horse
echo "== stop"
kill -TERM $pid
wait $pid
echo "exit $?"
