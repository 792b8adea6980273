# Ranking figures and subsets of eval. The figures of itembias on the whole catalogue were checked by the script in the comment at the end.
. "$SELLA_ROOT/tests/cli/make_log.inc"
make_log log
sella() { "$SELLA" "$@" --quiet --threads 1; }
sella import split log -o data --noun movie >/dev/null
sella train itembias data -o run >/dev/null
sella eval run --by strict-warm --by user-cold --by item-cold --ranking full --at 1 --at 5
sella eval run --by cold --ranking sampled --negatives 3 --seed 2 --ranking-per row
sella eval run --ranking sampled --json | grep -o '"ranking".*"at"'
echo "== usage" >&2
for words in "--at 5" "--ranking full --negatives 5" "--ranking-per row" "--ranking most" "--ranking full --at 0" "--by lukewarm" "--ranking sampled --negatives 0"; do
    sella eval run $words; echo "exit $?" >&2
done
# import csv, math
# rows = lambda part: [r | {"his": [i for i in r["his"].split() if i != "0"]} for r in csv.DictReader(open(f"log/{part}.tsv"), delimiter="\t")]
# train, test = rows("train"), rows("test")
# items = [r["iid"] for r in csv.DictReader(open("log/items.tsv"), delimiter="\t")]
# mean = sum(int(r["label"]) for r in train) / len(train)
# score = {i: (sum(int(r["label"]) for r in train if r["iid"] == i) + 5 * mean) / (sum(r["iid"] == i for r in train) + 5) for i in items}
# figures = []
# for user in sorted({r["uid"] for r in test}):
#     own = [r for r in test if r["uid"] == user]
#     known = set(own[0]["his"])
#     liked = {r["iid"] for r in own if r["label"] == "1"} - known
#     order = sorted((i for i in items if i not in known), key=lambda i: (-score[i], i in liked))
#     places = [p for p, i in enumerate(order, 1) if i in liked]
#     if places:
#         figures.append([[sum(1 / math.log2(p + 1) for p in places if p <= k) / sum(1 / math.log2(p + 1) for p in range(1, min(k, len(places)) + 1)),
#                          sum(p <= k for p in places) / len(places), 1 / places[0] if places[0] <= k else 0, places[0] <= k] for k in (1, 5)])
# print(len(figures), [[sum(f[k][m] for f in figures) / len(figures) for m in range(4)] for k in range(2)])
