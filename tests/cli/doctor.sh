# The report names what it found; --json holds the same facts.
"$SELLA" doctor --threads 1 | grep -v '^slow\|^load'
"$SELLA" doctor --threads 1 --json
"$SELLA" doctor --threads 64 | grep '^slow.*leave out --threads' # any machine but one with 64 cores
"$SELLA" doctor --threads 64 --json | grep -c '"threads":64.*leave out --threads'
