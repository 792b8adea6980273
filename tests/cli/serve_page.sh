# The page at / in a browser: a history from the address, titles that look like markup, problems, a user's list. Needs Chromium.
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome) || { echo "a Chromium is needed"; exit 77; }
. "$SELLA_ROOT/tests/cli/make_log.inc"
make_log log
awk -F'\t' -v OFS='\t' '$1 == 7 { $2 = "Gamma <script>document.title=1</script><img src=x onerror=document.title=2> (2014)" } 1' log/items.tsv >new && mv new log/items.tsv
"$SELLA" import split log -o data --noun movie --quiet >/dev/null
"$SELLA" train bias data -o run --quiet --threads 1 >/dev/null
"$SELLA" serve run --port 0 --json --quiet --threads 1 >up &
pid=$!
trap 'kill -9 $pid 2>/dev/null' EXIT
for i in $(seq 200); do [ -s up ] && break; sleep 0.05; done
url=$(sed 's/.*"url":"\([^"]*\)".*/\1/' up)
# page ADDRESS WORD: the page as it stands when its requests are answered, an element a line, without its script. The browser's
# clock runs ahead of a busy machine: it is asked again while WORD is not there yet.
page() {
    for again in 1 2 3 4; do
        timeout 60 "$browser" --headless --no-sandbox --disable-gpu --user-data-dir="$PWD/browser" --virtual-time-budget=8000 --dump-dom "$url/$1" 2>/dev/null |
            sed '/^<script>$/,/^<\/script>/d' | sed 's/></>\n</g' >dom
        grep -q "$2" dom && break
    done
}
# The texts of the elements of a list.
texts() { sed -n "/id=\"$1\"/,/<\/[ou]l>/p" dom | sed -n 's/.*<span class="title">\(.*\)<\/span>.*/\1/p'; }
line() { sed -n "s/.*id=\"$1\"[^>]*>\([^<]*\)<.*/\1/p" dom | sed 's/ in [0-9]* ms//'; }
echo "== history from the address"
page '#history=7,1&k=5' Answered
line run
texts history
line state
texts items | wc -l
texts items | grep -c Gamma
grep '^<title>' dom
grep -c '<img' dom
echo "== a title like markup among the recommendations"
page '#history=&k=20' Answered
texts items | grep Gamma
grep '^<title>' dom
echo "== a user"
page '#user=100&k=5' '>Like<'
line known
grep -c '>Like<' dom
echo "== problems"
page '#history=1,999' 'no item'
line problem
kill -TERM $pid
wait $pid
echo "exit $?"
