# Every page docs/COMMAND.md holds the help text of its command.
for command in train eval score metrics compare recommend export-feedback experiment report inspect bench doctor; do
    grep -qx "<!-- sella $command --help -->" "$SELLA_ROOT/docs/$command.md" || echo "docs/$command.md lacks its help block"
done
grep -qx "<!-- sella serve --help -->" "$SELLA_ROOT/docs/serving.md" || echo "docs/serving.md lacks its help block"
"$SELLA_ROOT/scripts/help-in-docs" "$SELLA"
grep -qx "<!-- sella explain --help -->" "$SELLA_ROOT/docs/explain.md" || echo "docs/explain.md lacks its help block"
