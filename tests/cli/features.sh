# Methods with features in the prompt, on a tiny random Llama: --from, what the prompts hold, Table 1, the score now is the score then.
. "$SELLA_ROOT/tests/cli/make_log.inc"
make_log log && rm log/test.tsv
cp -r "$SELLA_ROOT/tests/ref/tiny_llama" model
sella() { "$SELLA" "$@" --quiet --threads 1; }
try() { "$SELLA" "$@" --quiet --threads 1; echo "exit $?" >&2; }
sella import split log -o data --noun movie >/dev/null
rows="--set train.rows=48 --set eval.rows=24"
sella train tallrec data -o tallrec --model model $rows >/dev/null
sella train prompt4nr data -o prompt4nr --model model $rows --set soft.tokens=2 >/dev/null
sella train personprompt data -o personprompt --model model $rows --from tallrec >/dev/null
sella train collm data -o collm --model model $rows --from tallrec --set collab.width=8 --set collab.epochs=3 >/dev/null
sella train binllm data -o binllm --model model $rows --from tallrec --set binllm.code=dotted --set collab.epochs=3 --json
for run in prompt4nr personprompt collm binllm; do
    echo "== $run"
    sella inspect $run | sed -n '/^component/,/^$/p'
    sella inspect prompt $run --split valid --row 5 | grep -A 3 '^Movies\|^soft' | sed 's/[0-9][0-9]*\.[0-9.]*[0-9]/CODE/g'
    sella recommend $run --user 100 -k 2 --json | sed 's/"score":[0-9.e-]*/"score":*/g; s/"item":"[^"]*","title":"[^"]*"/ITEM/g'
    printf 'user,item,history,title\n100,1,,\n7777,99,The Dawn (1984),A Film Nobody Has (2024)\n' | sella score $run - | cut -d, -f 1-4 | tail -n 1
done
echo "== collm over din"
sella train collm data -o collmdin --model model $rows --from tallrec --set collab.model=din --set collab.width=8 --set collab.epochs=3 >/dev/null
sella inspect collmdin | sed -n '/^component/,/^$/p'
sella recommend collmdin --user 100 -k 2 --json | sed 's/"score":[0-9.e-]*/"score":*/g; s/"item":"[^"]*","title":"[^"]*"/ITEM/g'
try train collm data -o refused --model model --from tallrec --set train.rows=47
try train collm data -o refused --model model --set collab.model=gru4rec
try train prompt4nr data -o refused --model model --from tallrec $rows
try train binllm data -o refused --model model --set collab.width=12 --set binllm.code=dotted
printf 'sella-template 1\nhistory = " {title};"\nempty = " none;"\nuser_code = "Of {user}"\ntarget = " Like {title}? Answer:"\nyes = " Yes"\nno = " No"\n' >bad.txt
try train binllm data -o refused --model model $rows --set template=bad.txt
[ -e refused ] && echo "a refused run is left"
sella train collm data --model model --dry-run --json $rows --set collab.width=8 | sed 's/"seconds".*//'
