# explain: terms, what is taken out, attention; wide and long titles in narrow tables; JSON; the page; wrong usage. What random weights compute is masked,
# its layout is not; the figures themselves are tested in tests/test_engine_explain.c.
. "$SELLA_ROOT/tests/cli/make_log.inc"
make_log log
awk -F'\t' -v OFS='\t' '$1 == 5 { $2 = "七人の侍 (1954)" } $1 == 7 { $2 = "Birdman or (The Unexpected Virtue of Ignorance), <b>uncut</b> & \"restored\" (2014)" } 1' \
    log/items.tsv >new && mv new log/items.tsv
cp -r "$SELLA_ROOT/tests/ref/tiny_llama" model
sella() { "$SELLA" "$@" --quiet --threads 1; } # tiny: threads would only wait for each other
try() { "$SELLA" "$@" --quiet --threads 1; echo "exit $?" >&2; }
mask() { sed -E 's/[-+ ][0-9]\.[0-9]{4}/ 0.0000/g; s/  [ #]*\|#*$/ BAR/; s/#/ /g; s/ +$//'; } # bars differ, the columns behind them do not
sella import split log -o data --noun movie >/dev/null
sella train bias data -o bias >/dev/null
sella train sella data -o sella --model model --set train.rows=64 --set eval.rows=10 --set lora.rank=4 --set collab.width=8 --set proj.hidden=8 \
    --set stage2.epochs=2 --set stage2.text=no --set stage3.residual=yes --set collab.history=no >/dev/null
echo "== bias"
COLUMNS=60 sella explain bias --user 100 --item 5
COLUMNS=100 sella explain bias --user nobody --item 7 | tail -n 4
echo "== a language model"
liked="The Amber (1981);5;7;The Birch (1982)"
COLUMNS=100 sella explain sella --user 100 --item 5 --history "$liked" --layers 1,2 | mask
COLUMNS=60 sella explain sella --item 7 --history "5;七人の侍 (1985);An Unheard-of Film (2030)" --free-titles | mask
COLUMNS=10 sella explain sella --user 100 --item 7 --history "" | mask | head -n 3
sella explain sella --user 100 --item 5 --history "$liked" --without 7 --without "the amber (1981)" | mask | sed -n '/without/,/^$/p'
score=$(printf 'user,item,history\n100,5,"%s"\n' "$liked" | sella score sella - | tail -n 1 | sed 's/.*,//')
sella explain sella --user 100 --item 5 --history "$liked" --json >e.json
awk -v a="$score" -v b="$(sed 's/^{"user":"100"[^{]*"score":\([0-9.e-]*\).*/\1/' e.json)" 'BEGIN { d = a - b; print (a > 0 && d < 1e-5 && d > -1e-5) ? "score: equal" : "score: " a " and " b }'
sed 's/"attention":.*"without"/"attention":...,"without"/; s/-\?[0-9]\.[0-9e-]\{3,\}/0.5/g' e.json
grep -o '"\(layers\|heads\|by_head\)":\[\?[0-9]*' e.json
sella explain sella --user 100 --item 5 --heads --json | grep -o '"by_head":\[\['
echo "== the page"
sella explain sella --user "<i>me</i>" --item 7 --history "$liked" --layers 1,2 --html page.html >/dev/null
grep '^<title>\|^<h1>\|^<p class=dim>item\|^<h2>' page.html
grep -c '<svg' page.html
grep -c '<script\|https\?://\|<b>uncut\|<i>me' page.html
tail -n 1 page.html
sella explain bias --user 100 --item 5 --html page.html >/dev/null && grep -c '<svg' page.html
ls | tr "\n" " " && echo
echo "== refused"
try explain
try explain bias --user 100
try explain bias --item 5
try explain bias --user 100 --item 99
try explain bias --user 100 --item 5 --layers 1
try explain bias --user 100 --item 5 --without 7
try explain sella --user 100 --item 5 --layers 2,x
try explain sella --user 100 --item 5 --layers ,
try explain sella --user 100 --item 5 --layers 3
try explain sella --user 100 --item 5 --heads
try explain sella --user 100 --item 5 --history "$liked" --without "The Birsh (1982)"
try explain sella --user 100 --item 5 --history "The Bitch (1982)"
try explain sella --user 100 --item 5 --html nowhere/page.html
try explain bias --user $'caf\xe9' --item 5
try explain bias --user 100 --item $'caf\xe9'
try explain sella --user 100 --item 5 --history $'caf\xe9' --free-titles
