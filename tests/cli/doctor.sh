# The report names what it found; --json holds the same facts.
"$SELLA" doctor --threads 1 | grep -v '^slow\|^load'
"$SELLA" doctor --threads 1 --json
"$SELLA" doctor --threads 1000 | grep 'threads share'
"$SELLA" doctor --threads 1000 --json | grep -c '"threads":1000.*leave out --threads'
