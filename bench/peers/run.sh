#!/bin/sh
# run.sh [--markdown] [--turns N] [--only score,train,train-all,collab,profile,prefix] [--data DATASET] [--model FILE]: sella beside its peers, in turns.
# PYTHON names an interpreter that has the packages of requirements.txt; MODEL the backbone.
cd "$(dirname "$0")/../.." || exit 1
: "${PYTHON:=python3}" "${MODEL:=models/SmolLM2-135M-Instruct.Q4_1.gguf}"
[ -x build/sella ] || { echo "run.sh: build/sella is missing: run make" >&2; exit 1; }
[ -e "$MODEL" ] || { echo "run.sh: $MODEL is missing: run make model, or set MODEL" >&2; exit 1; }
exec "$PYTHON" bench/peers/side_by_side.py --python "$PYTHON" --model "$MODEL" "$@"
