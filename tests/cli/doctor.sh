# The report names what it found; --json holds the same facts.
"$SELLA" doctor --threads 1 | grep -v '^slow\|^load'
"$SELLA" doctor --threads 1 --json
