# A person at the page of /: by keyboard, with an API key, on a phone, light and dark (serve_page_steps.py). Needs Chromium and python3.
command -v python3 >/dev/null || { echo "python3 is needed"; exit 77; }
for name in chromium chromium-browser google-chrome; do command -v $name >/dev/null && browser=$name; done
[ -n "$browser" ] || { echo "a Chromium is needed"; exit 77; }
. "$SELLA_ROOT/tests/cli/make_log.inc"
make_log log
awk -F'\t' -v OFS='\t' '$1 == 7 { $2 = "Gamma <script>document.title=1</script><img src=x onerror=document.title=2> (2014)" } 1' log/items.tsv >new && mv new log/items.tsv
"$SELLA" import split log -o data --noun movie --quiet >/dev/null
"$SELLA" train bias data -o run --quiet --threads 1 >/dev/null
echo 'correct-horse-battery' >key
"$SELLA" serve run --port 0 --json --quiet --threads 1 --api-key-file key >up &
pid=$!
trap 'kill -9 $pid 2>/dev/null' EXIT
for i in $(seq 200); do [ -s up ] && break; sleep 0.05; done
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$SELLA_ROOT/tests" python3 "$SELLA_ROOT/tests/cli/serve_page_steps.py" \
    "$(sed 's/.*"url":"\([^"]*\)".*/\1/' up)" "$PWD/browser"
