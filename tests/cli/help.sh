# Help on stdout, exit 0, the same ways everywhere; no command at all is wrong usage.
"$SELLA" help >a && "$SELLA" --help >b && "$SELLA" -h >c && cmp a b && cmp a c || exit 1
head -n 3 a
"$SELLA" help doctor >d && "$SELLA" doctor --help >e && "$SELLA" doctor -h >f && cmp d e && cmp d f || exit 1
cat d
"$SELLA" --version
"$SELLA" >g 2>h
echo "no command: exit $?, $(wc -c <g) bytes on stdout"
cat h
"$SELLA" help --help | cmp - a
