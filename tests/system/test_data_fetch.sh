#!/bin/bash
# data/fetch: gets what is missing, goes on with a part, never gives a name to a file with a wrong checksum, and says
# what to do where there is nothing to fetch from. The mirror is a folder, the data set a small one.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0

check() { # NAME COMMAND...
    local name=$1
    shift
    if "$@"; then
        echo "ok - $name"
    else
        echo "not ok - $name"
        sed 's/^/    /' "$work/log"
        status=1
    fi
}

mkdir -p "$work/mirror" "$work/data"
cp "$root/data/fetch" "$work/data/"
for name in a.gz b.gz; do head -c 20000 /dev/urandom >"$work/mirror/$name"; done
(cd "$work/mirror" && sha256sum -- *.gz) >"$work/data/mnist.sha256"
full=$work/data/full/mnist

fetch() { # MIRROR-FOLDER
    TRIBUTARY_MIRROR=file://$1 "$work/data/fetch" mnist >"$work/log" 2>&1
}
fails() { ! "$@"; }
same() { cmp -s "$work/mirror/a.gz" "$full/a.gz" && cmp -s "$work/mirror/b.gz" "$full/b.gz"; }

command -v curl >/dev/null || { echo "ok - data/fetch # SKIP curl is not installed"; exit 0; }
check "without the files it fails" fails fetch "$work/nowhere"
check "and says what to do" grep -q TRIBUTARY_DATA "$work/log"
fetch "$work/mirror"
check "fetches all" same
fetch "$work/nowhere"
check "needs nothing more" grep -q 'is complete' "$work/log"
rm "$full/a.gz"
head -c 5000 "$work/mirror/a.gz" >"$full/a.gz.part"
fetch "$work/mirror"
check "goes on with a part" same
rm "$full/a.gz"
head -c 5000 /dev/zero >"$full/a.gz.part"
fetch "$work/mirror"
check "starts again where the part was wrong" same
check "leaves no part behind" fails compgen -G "$full/*.part*"
printf x | dd of="$full/b.gz" bs=1 seek=77 conv=notrunc 2>/dev/null
fetch "$work/mirror"
check "replaces a damaged file" same
rm "$full/b.gz"
cp -r "$work/mirror" "$work/bad"
printf x | dd of="$work/bad/b.gz" bs=1 seek=99 conv=notrunc 2>/dev/null
fetch "$work/bad"
check "refuses a damaged source" test ! -e "$full/b.gz"
exit $status
