#!/usr/bin/env bash
# The things around the code: ready configs, keys of the compose tree, set-up, installation, the rules that lint keeps,
# the test runner's own counting.
set -uo pipefail
cd "$(dirname "$0")/../.."
scratch=$TRIBUTARY_SCRATCH
PATH=$TRIBUTARY_BIN:$PATH

# check NAME COMMAND...: a case that passes if the command does.
check() {
    local name=$1
    shift
    if "$@" >"$scratch/out" 2>&1; then
        echo "ok - $name"
    else
        cat "$scratch/out"
        echo "not ok - $name"
    fi
}

fails_with() { # STATUS TEXT COMMAND...
    local want=$1 text=$2 status=0
    shift 2
    "$@" >"$scratch/said" 2>&1 || status=$?
    cat "$scratch/said"
    [ "$status" = "$want" ] && grep -qF -- "$text" "$scratch/said"
}

for config in configs/*.yaml configs/compose/*.yaml; do
    check "$config is in order" tributary config check "$config"
done
sed -n '/^    role: edge/,/^    on_finish/s/^    //p' docs/gateway.md >"$scratch/gateway.yaml"
check "the config in docs/gateway.md is in order" tributary config check "$scratch/gateway.yaml"

keys=$scratch/keys
mkdir -p "$keys"/{cloud,edge-1,edge-2,devices-1}
make_keys() { KEYS=$keys sh deploy/compose/make-keys cloud:edge-1 cloud:edge-2 edge-1:devices-1:3:2; }
check "make-keys makes a tree's keys" make_keys
lists() {
    [ "$(sort "$keys/cloud/allow")" = "$(for n in edge-1 edge-2; do echo "$(awk '$1 == "public" { print $2 }' "$keys/$n/$n.pub") $n"; done | sort)" ] &&
        [ "$(wc -l <"$keys/edge-1/allow")" = 2 ] && cmp "$keys/cloud/cloud.pub" "$keys/edge-1/cloud.pub"
}
check "a parent allows its children and no one else" lists
secrets() { [ "$(cd "$keys" && ls */*.key | tr '\n' ' ')" = "cloud/cloud.key devices-1/devices-1-3.key devices-1/devices-1-4.key edge-1/edge-1.key edge-2/edge-2.key " ]; }
check "each secret is in its node's folder alone" secrets
again() {
    local before
    before=$(cat "$keys"/*/* | sha256sum)
    rm -f "$keys/edge-1/allow"
    make_keys && [ "$before" = "$(cat "$keys"/*/* | sha256sum)" ]
}
check "make-keys changes nothing that is there, and mends what is not" again

check "setup without a target says how it is used" fails_with 2 "./setup demo" ./setup
check "setup refuses a section that is not there" fails_with 1 "no section [nonsense]" ./setup --only nonsense

root=$scratch/root
install_all() { make -s install DESTDIR="$root" B="$(dirname "$TRIBUTARY_BIN")" && "$root/usr/local/bin/tributary-edge" --version; }
check "make install" install_all
units() { ! grep -rn '@[A-Z]*@' "$root/usr/local/lib/systemd" && grep -q '^ExecStart=/usr/local/bin/tributary-edge --config /usr/local/etc/' "$root/usr/local/lib/systemd/system/tributary-edge.service"; }
check "units name the installed paths" units

tree=$scratch/tree
mkdir -p "$tree/shared/rules" "$tree/edge"
printf '#include "cloud/cloud.h"\n#include <zmq.h>\nint f(char *s) {\n    return atoi(s);\n}\n' >"$tree/edge/a.c"
printf '#include "shared/net/server.h"\n#include <time.h>\nlong g(void) {\n    return (long)time(0);\n}\n/* atoi(x) */\n' >"$tree/shared/rules/b.c"
found() {
    tests/lint/structure "$tree" >"$scratch/findings"
    cat "$scratch/findings"
    grep -q 'edge/a.c:1: .*another tier' "$scratch/findings" && grep -q 'edge/a.c:2: <zmq.h>' "$scratch/findings" &&
        grep -q 'edge/a.c:4: atoi' "$scratch/findings" && grep -q 'rules/b.c:1: .*no lower layer' "$scratch/findings" &&
        grep -q 'rules/b.c:4: time' "$scratch/findings" && ! grep -q 'b.c:6' "$scratch/findings"
}
check "lint finds what breaks the structure" found

printf 'echo "ok - a"\necho "not ok - b"\n' >"$scratch/test_x.sh"
printf 'echo "ok - c"\nkill -9 $$\n' >"$scratch/test_y.sh"
check "the runner counts a failure and a crash" fails_with 1 "2 passed, 2 failed" tests/run "$scratch/test_x.sh" "$scratch/test_y.sh"
printf '# timeout: 1\necho "ok - d"\nsleep 1000\n' >"$scratch/test_z.sh"
check "the runner ends what hangs" fails_with 1 "time-out" tests/run "$scratch/test_z.sh"
printf 'touch "%s/next"\n' "$scratch" >"$scratch/test_v.sh"
printf 'echo $$ >"%s/sleeper"\nsleep 1000\n' "$scratch" >"$scratch/test_w.sh"
ended() {
    local runner pid
    tests/run --jobs 1 "$scratch/test_w.sh" "$scratch/test_v.sh" &
    runner=$!
    until [ -s "$scratch/sleeper" ]; do sleep 0.1; done
    pid=$(cat "$scratch/sleeper")
    kill -TERM "$runner"
    wait "$runner"
    [ $? = 143 ] || return 1
    while kill -0 "$pid" 2>/dev/null && ! grep -q '^State:.*zombie' "/proc/$pid/status" 2>/dev/null; do sleep 0.1; done
    [ ! -e "$scratch/next" ]
}
check "the runner, ended, ends its tests" ended
