#!/usr/bin/env bash
# Makes this checkout ready: system libraries, the virtual environment, the pinned Python packages.
#   tools/setup.sh run    what the application needs
#   tools/setup.sh dev    that, and what checks and tests need
# Safe to call again: what is there already is left alone.
set -euo pipefail
cd "$(dirname "$0")/.."

goal=${1:-run}
venv=.venv
logs=.cache/setup
mkdir -p "$logs"

say() { printf '==> %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

# --- system packages ------------------------------------------------------------------------------
# Each line: what proves that it is there, and the Debian package that brings it.
# "so:" a shared library, "bin:" a program, "file:" a path.
run_needs="
bin:c++ build-essential
file:/usr/include/gmp.h,/usr/include/$(uname -m)-linux-gnu/gmp.h libgmp-dev
so:libEGL.so.1 libegl1
so:libGL.so.1 libgl1
so:libxkbcommon.so.0 libxkbcommon0
so:libfontconfig.so.1 libfontconfig1
so:libglib-2.0.so.0 libglib2.0-0
so:libdbus-1.so.3 libdbus-1-3
so:libxcb-cursor.so.0 libxcb-cursor0
so:libxcb-icccm.so.4 libxcb-icccm4
so:libxcb-keysyms.so.1 libxcb-keysyms1
so:libxkbcommon-x11.so.0 libxkbcommon-x11-0
so:libxcb-shape.so.0 libxcb-shape0
so:libxcb-randr.so.0 libxcb-randr0
so:libxcb-sync.so.1 libxcb-sync1
so:libxcb-xfixes.so.0 libxcb-xfixes0
so:libX11-xcb.so.1 libx11-xcb1
so:libxcb-image.so.0 libxcb-image0
so:libxcb-render-util.so.0 libxcb-render-util0
so:libgomp.so.1 libgomp1
"
dev_needs="
bin:dbus-run-session dbus
bin:gnome-keyring-daemon gnome-keyring
bin:Xvfb xvfb
bin:openbox openbox
bin:trayer trayer
bin:xdotool xdotool
bin:import imagemagick
bin:ip iproute2
bin:b3sum b3sum
"

present() {
    local kind=${1%%:*} what=${1#*:} path
    case "$kind" in
        so) ldconfig -p | grep -qF "$what " ;;
        bin) command -v "$what" >/dev/null ;;
        file) for path in ${what//,/ }; do [ -e "$path" ] && return 0; done; return 1 ;;
    esac
}

missing_packages() {
    local proof package
    while read -r proof package; do
        [ -z "$proof" ] || present "$proof" || printf '%s ' "$package"
    done
}

install_system() {
    [ "$(uname -s)" = Linux ] || return 0
    local needs=$run_needs missing
    [ "$goal" = dev ] && needs+=$dev_needs
    missing=$(missing_packages <<<"$needs")
    "$python" -c 'import venv, ensurepip' 2>/dev/null || missing+="$(basename "$(readlink -f "$python")")-venv "
    "$python" -c 'import sysconfig, pathlib, sys; sys.exit(not (pathlib.Path(sysconfig.get_path("include")) / "Python.h").exists())' \
        || missing+="$(basename "$(readlink -f "$python")")-dev "
    [ -n "$missing" ] || return 0
    command -v apt-get >/dev/null || fail "these system packages are missing: $missing(named as Debian names them); install them and try again"
    if [ "$(id -u)" != 0 ]; then
        fail "system packages are missing; run this, then try again:
    sudo apt-get install -y --no-install-recommends $missing"
    fi
    say "installing system packages: $missing"
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update && apt-get install -y --no-install-recommends $missing; } >"$logs/apt.log" 2>&1 \
        || { tail -n 20 "$logs/apt.log" >&2; fail "apt-get failed; the whole log is $logs/apt.log"; }
}

# --- Python ---------------------------------------------------------------------------------------
find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11; do
        [ -n "$candidate" ] && command -v "$candidate" >/dev/null || continue
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

# Runs a long command with its output in a log, and says every 20 seconds what it is doing.
with_progress() {
    local title=$1 log=$2 start pid step
    shift 2
    say "$title"
    start=$SECONDS
    "$@" >"$log" 2>&1 &
    pid=$!
    trap 'kill "$pid" 2>/dev/null || true' EXIT
    while kill -0 "$pid" 2>/dev/null; do
        sleep 1
        if (( (SECONDS - start) % 20 == 0 )); then
            step=$(grep -oE '^ *(\[[0-9]+/[0-9]+\]|Collecting [^ ]+|Building wheel for [^ ]+|Installing collected)' "$log" | tail -n 1 || true)
            case "$step" in *"["*) step="compiling llama.cpp, step ${step//[][ ]/}" ;; esac
            printf '    %d min %02d s  %s\n' $(( (SECONDS - start) / 60 )) $(( (SECONDS - start) % 60 )) "$step"
        fi
    done
    trap - EXIT
    wait "$pid" || { tail -n 25 "$log" >&2; fail "that failed; the whole log is $log"; }
}

install_python() {
    local name=$1 stamp
    stamp="$venv/.installed-$name"
    if [ -f "$stamp" ] && cmp -s "$stamp" "requirements/$name.txt"; then return 0; fi
    if [ "$name" = run ] && ! "$venv/bin/python" -c 'import importlib.metadata as m; m.version("llama-cpp-python")' 2>/dev/null; then
        say "llama.cpp is compiled for this processor now, once: 5 to 10 minutes on two cores"
    fi
    with_progress "installing the pinned Python packages ($name)" "$logs/pip-$name.log" \
        "$venv/bin/python" -m pip install -v --no-input --disable-pip-version-check -r "requirements/$name.txt"
    cp "requirements/$name.txt" "$stamp"
}

python=$(find_python) || fail "Python 3.11 or later is needed; on Debian and Ubuntu: sudo apt-get install -y python3 python3-venv"
install_system
if [ ! -x "$venv/bin/python" ]; then
    say "making the virtual environment in $venv with $("$python" --version)"
    "$python" -m venv "$venv"
fi
install_python run
if [ ! -x "$venv/bin/swarmllm" ]; then
    say "putting the command swarmllm into $venv/bin"
    "$venv/bin/python" -m pip install -q --no-input --disable-pip-version-check --no-deps -e . \
        >"$logs/pip-app.log" 2>&1 || { cat "$logs/pip-app.log" >&2; fail "that failed"; }
fi
if [ "$goal" = dev ]; then install_python dev; fi
