# Every page docs/COMMAND.md holds the help text of its command.
for command in train eval score metrics compare recommend inspect bench doctor; do
    grep -qx "<!-- sella $command --help -->" "$SELLA_ROOT/docs/$command.md" || echo "docs/$command.md lacks its help block"
done
"$SELLA_ROOT/scripts/help-in-docs" "$SELLA"
