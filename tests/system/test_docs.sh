#!/usr/bin/env bash
# The documents against what they speak of: the config keys, files and functions that exist, links that lead somewhere.
set -uo pipefail
cd "$(dirname "$0")/../.."
PATH=$TRIBUTARY_BIN:$PATH

# check NAME COMMAND...: a case that passes if the command says nothing and succeeds.
check() {
    local name=$1 said status=0
    shift
    said=$("$@" 2>&1) || status=$?
    if [ "$status" = 0 ] && [ -z "$said" ]; then
        echo "ok - $name"
    else
        printf '%s\n' "$said"
        echo "not ok - $name"
    fi
}

config() { diff <(tributary config options --markdown) docs/config.md || echo "make docs writes it"; }
check "docs/config.md is what the option tables say" config

# Prints each word of stdin that is no file, as it stands or below shared/.
missing_files() {
    local file
    while read -r file; do
        [ -e "$file" ] || [ -e "shared/$file" ] || ls shared/*/"$file" >/dev/null 2>&1 || echo "no such file: $file"
    done
}
tour_files() { grep -oE '\b[a-zA-Z_0-9/]+\.(c|h|py|sh)\b' docs/architecture.md | sort -u | missing_files; }
check "the files that docs/architecture.md names exist" tour_files

# In code, a name with a parenthesis behind it or a member of a table.
names() {
    local name
    grep -oE '`[a-z_0-9]+(\(\))?`' docs/architecture.md | tr -d '`()' | grep _ | sort -u | while read -r name; do
        grep -rqwF --include='*.[ch]' "$name" shared device edge cloud cli tests || echo "no such name: $name"
    done
}
check "the functions that docs/architecture.md names exist" names

links() {
    local page target
    for page in README.md CONTRIBUTING.md docs/*.md; do
        grep -oE '\]\([^)#: ]+' "$page" | cut -c3- | while read -r target; do
            [ -e "$(dirname "$page")/$target" ] || echo "$page: nothing at $target"
        done
    done
    return 0
}
check "links lead to files" links

targets() {
    local target database
    database=$(make -qp 2>/dev/null)
    grep -oE '(\./setup|make) [a-z][a-z-]+' README.md | awk '{ print $2 }' | sort -u | while read -r target; do
        grep -q "^$target:" <<<"$database" || echo "no such target: $target"
    done
}
check "the commands of README.md are targets of the Makefile" targets

# A run that ends at once leaves a ledger to ask.
queries() {
    local dir=$TRIBUTARY_SCRATCH/cloud
    tributary-cloud --set "listen=ipc://$TRIBUTARY_SCRATCH/cloud.sock" --set store.path="$dir" --set plan.stop.time=1ms \
        --set plan.data.set=glyphs --set evaluation.max_samples=10 2>"$TRIBUTARY_SCRATCH/cloud.log" ||
        cat "$TRIBUTARY_SCRATCH/cloud.log"
    /usr/bin/python3 - "$dir/ledger.db" <<'PYTHON'
import re, sqlite3, sys
ledger = sqlite3.connect(sys.argv[1])
for block in re.findall(r"```sql\n(.*?)```", open("README.md").read(), re.S):
    for query in filter(str.strip, block.split(";")):
        ledger.execute(query).fetchall()
if not ledger.execute("SELECT count(*) FROM run_summary").fetchone()[0]:
    print("no run in the ledger")
PYTHON
}
check "the SQL of README.md runs on a ledger" queries
