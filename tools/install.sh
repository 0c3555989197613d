#!/bin/sh
# Make a virtual environment with Antiphon in it; if it is there and up to date, return at once.
#
#     sh tools/install.sh FOLDER [GROUP [lowest]]
#
# GROUP is a dependency group of pyproject.toml to add, dev or bench; lowest installs the oldest dependencies that
# pyproject.toml allows.
# All messages go to standard error: the output of `make run` belongs to the program.

set -eu
exec >&2

folder=$1
group=${2:-}
lowest=${3:-}

# These variables would direct Python and pip to another environment, or make a warning of pip an error.
unset PYTHONHOME PYTHONPATH PYTHONWARNINGS PIP_USER PIP_TARGET PIP_PREFIX PIP_REQUIRE_VIRTUALENV

fail() {
    echo "make: $*" >&2
    exit 1
}

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        is_new_enough "$PYTHON" || fail "PYTHON=$PYTHON is not a Python of version 3.11 or later."
        echo "$PYTHON"
        return
    fi
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        if is_new_enough "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    fail "Antiphon needs Python 3.11 or later, and there is none here; name it with PYTHON=/path/to/python3."
}

# Debian ships the pip of new environments in python3-venv; without that package, another pip installs it.
make_environment() {
    rm -rf "$folder"
    "$1" -m venv "$folder" >/dev/null 2>&1 && return
    rm -rf "$folder"
    "$1" -m venv --without-pip "$folder" >/dev/null 2>&1 &&
        "$1" -m pip --python "$folder/bin/python" install pip >/dev/null 2>&1 && return
    rm -rf "$folder"
    "$1" -m virtualenv -q "$folder" >/dev/null 2>&1 && return
    rm -rf "$folder"
    fail "$1 cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv, then try again."
}

# An environment holds its own path and does not survive being moved; a new pyproject.toml may ask for more,
# and what is built is built again when its source has changed.
state=$(cat pyproject.toml hatch_build.py src/antiphon/_*.h src/antiphon/*/_*.[ch] | cksum)
stamp="$folder/.antiphon${group:+-$group}"
place="$folder/.antiphon-place"

is_usable() {
    [ -x "$folder/bin/python" ] && { [ ! -e "$place" ] || [ "$(cat "$place")" = "$PWD" ]; }
}

if is_usable && [ "$(cat "$stamp" 2>/dev/null)" = "$state" ]; then
    exit 0
fi

if is_usable && is_new_enough "$folder/bin/python" && "$folder/bin/python" -m pip --version >/dev/null 2>&1; then
    echo "Bringing $folder up to date ..."
else
    python=$(find_python)
    echo "Setting up $folder with $("$python" --version) (once; about a minute) ..."
    make_environment "$python"
fi
echo "$PWD" >"$place"
echo '*' >"$folder/.gitignore"

run_pip() {
    "$folder/bin/python" -m pip -qq --disable-pip-version-check "$@" # shows errors, but no warnings
}

run_pip install "pip>=25.1" # the first with dependency groups
set -- --editable .
if [ -n "$group" ]; then
    set -- "$@" --group "$group"
fi
if [ -n "$lowest" ]; then
    "$folder/bin/python" tools/lowest.py >"$folder/constraints.txt"
    set -- "$@" --constraint "$folder/constraints.txt"
fi
run_pip install "$@"
# In the C locale Python cannot read a path such as /home/мария from a .pth file; a relative path is plain ASCII.
for link in "$folder"/lib/python*/site-packages/*antiphon.pth; do
    echo ../../../../src >"$link"
done
echo "$state" >"$stamp"
echo "$folder is ready."
