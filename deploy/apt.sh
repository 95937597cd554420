# Sourced by deploy/base-image and deploy/arm64-root: how this machine's apt reaches Debian 12.
# shellcheck shell=bash

# The machine's sources for bookworm, as apt itself reads them, one `deb` line each.
apt_sources() {
    # shellcheck disable=SC2016  # the $(...) are apt's
    apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
        awk '$2 ~ /^bookworm(-updates|-security)?$/ && $3 == "main" { print "deb", $1, $2, $3 }' | sort -u
}

# The options that let apt reach them: a proxy, and snapshots whose Release files are past their date.
apt_options() {
    apt-config dump | sed -nE 's/^(Acquire::(https?::Proxy|Check-Valid-Until|Check-Date)) "(.+)";$/--aptopt=\1 "\3"/p'
}

# bookworm_root ARGUMENT...: mmdebstrap with these, from those sources; a tar on the standard output.
bookworm_root() {
    local lines options
    command -v mmdebstrap >/dev/null || { echo "${0##*/}: mmdebstrap is missing; ./setup --only image arm64" >&2; return 1; }
    lines=$(apt_sources)
    if ! grep -q ' bookworm main$' <<<"$lines"; then
        echo "${0##*/}: this machine's apt sources have no Debian 12 (bookworm main); add them to /etc/apt" >&2
        return 1
    fi
    mapfile -t options < <(apt_options)
    { echo "${0##*/}: from"; sed 's/^/  /' <<<"$lines"; } >&2
    mmdebstrap --quiet --aptopt='Acquire::Retries "3"' "$@" "${options[@]}" bookworm - - <<<"$lines"
}
