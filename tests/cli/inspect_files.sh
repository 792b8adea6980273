# Files and models by their contents; a text through the tiny model; what is none of these.
cp -r "$SELLA_ROOT/tests/ref/tiny_llama" tiny
"$SELLA" inspect tiny --quiet --text "Toy Story" --logits-of "Yes, No"
"$SELLA" inspect tiny --quiet --text "Toy" --json
"$SELLA" inspect tiny/adapter/adapter_model.safetensors | head -n 8
"$SELLA" inspect tiny/adapter/adapter_model.safetensors --json | head -c 60; echo
cp "$SELLA_ROOT/tests/ref/formats_i32.npy" a.npy
"$SELLA" inspect a.npy
try() { "$SELLA" "$@" --quiet; echo "exit $?" >&2; }
try inspect nothing
mkdir empty && try inspect empty
printf 'hello world' >notes && try inspect notes
head -c 1000 tiny/model.safetensors >short.safetensors && try inspect short.safetensors
printf '{' >tiny/config.json && try inspect tiny
try inspect tiny --text x
rm tiny/config.json && try inspect tiny
try inspect "$SELLA_ROOT/tests/ref/tiny_llama" --text ""
try inspect "$SELLA_ROOT/tests/ref/tiny_llama" --text $'caf\xe9'
