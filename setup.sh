#!/usr/bin/env bash
# Sets up everything this project needs, in .venv beside this file; does nothing where it is done.
#
# PYTHON=python3.12   the interpreter to use (3.11 or newer, with pip)
# TORCH=cpu|cuda      which build of torch; by default cuda where nvidia-smi finds a GPU
# --extras            also what text=minilm|transformers, tokenizer=wan22 and their tests need
set -euo pipefail
export PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1
cd "$(dirname "${BASH_SOURCE[0]}")"

TORCH_RANGE='torch>=2.8,<2.14'
# mani-skill asks for mplib, for examples only; it has no wheel for Python 3.13 and newer.
NOT_FROM_INDEX=$'torch\nmplib\n'
say() { printf '\033[1m==>\033[0m %s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

find_python() {
    local name
    for name in ${PYTHON:-python3 python3.12 python3.11 python3.13 python3.14}; do
        if "$name" -c 'import sys, venv, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    fail "no Python 3.11 or newer with pip and venv was found; install one (Debian/Ubuntu:" \
        "apt-get install python3.11 python3-pip) or name it: PYTHON=/path/to/python ./setup.sh"
}

make_environment() {
    [ -x .venv/bin/python ] && .venv/bin/python -m pip --version >/dev/null 2>&1 && return
    say "making .venv with $("$1" --version)"
    # Not ensurepip: Debian keeps it in a package of its own.
    "$1" -m venv --clear --without-pip .venv
    local packages
    packages=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    "$1" -m pip install --quiet --target "$packages" pip ||
        fail "pip could not install into .venv; check its configuration: $1 -m pip config list"
}

# uv is fast and does not read pip's configuration, so it is told what pip would use.
use_uv() {
    .venv/bin/python -m uv --version >/dev/null 2>&1 || .venv/bin/python -m pip install --quiet uv
    local setting value
    setting() {
        value=$(.venv/bin/python -m pip config get "global.$1" 2>/dev/null) ||
            value=$(.venv/bin/python -m pip config get "install.$1" 2>/dev/null) || value=''
        echo $value
    }
    value=${PIP_INDEX_URL:-$(setting index-url)}
    [ -z "$value" ] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$value}"
    value=${PIP_FIND_LINKS:-$(setting find-links)}
    [ -z "$value" ] || export UV_FIND_LINKS="${UV_FIND_LINKS:-${value// /,}}"
    value=${PIP_CERT:-$(setting cert)}
    [ -z "$value" ] || export SSL_CERT_FILE="${SSL_CERT_FILE:-$value}"
    export UV_LINK_MODE="${UV_LINK_MODE:-copy}" VIRTUAL_ENV="$PWD/.venv"
}

uv_install() { .venv/bin/python -m uv pip install --quiet "$@"; }
pip_install() { .venv/bin/python -m pip install --quiet "$@"; }

wanted_torch() {
    if [ -n "${TORCH:-}" ]; then
        echo "$TORCH"
    elif nvidia-smi -L 2>/dev/null | grep -q '^GPU'; then
        echo cuda
    else
        echo cpu
    fi
}

# pip would take this version; a wheel folder or mirror with CPU builds shows as "2.x.y+cpu".
pip_offers() {
    pip_install --dry-run --no-deps --report - "$TORCH_RANGE" 2>/dev/null | .venv/bin/python -c '
import json, sys
print(json.load(sys.stdin)["install"][0]["metadata"]["version"])' 2>/dev/null || true
}

install_torch() {
    local wanted=$1 have
    have=$(.venv/bin/python -c '
from importlib.metadata import version
print(version("torch"))' 2>/dev/null || true)
    case "$wanted:$have" in
        cpu:*+cpu) return ;;
        cuda:?*) [[ "$have" == *+cpu ]] || return 0 ;;
    esac
    say "installing torch ($wanted build)"
    if [ "$wanted" = cuda ]; then
        uv_install --reinstall-package torch --torch-backend=auto "$TORCH_RANGE" ||
            pip_install --force-reinstall "$TORCH_RANGE" || fail "torch could not be installed"
    elif [[ "$(pip_offers)" == *+cpu ]]; then
        pip_install --only-binary :all: "$TORCH_RANGE"
    else
        uv_install --torch-backend=cpu "$TORCH_RANGE" ||
            fail "no CPU build of torch can be had here: PyTorch's package index does not answer" \
                "and pip is offered none; put a torch wheel into a folder and name it in" \
                "PIP_FIND_LINKS, or take the large CUDA build with TORCH=cuda ./setup.sh"
    fi
}

install_packages() {
    say "installing the packages of requirements.lock"
    uv_install --no-deps -r requirements.lock || pip_install --no-deps -r requirements.lock || {
        say "some of these versions are not to be had here: taking what the package index offers"
        uv_install --excludes <(printf '%s' "$NOT_FROM_INDEX") --extra dev -r pyproject.toml ||
            pip_install --editable '.[dev]' ||
            fail "the packages could not be installed; the messages above say which"
    }
    uv_install --no-deps --editable . || pip_install --no-deps --editable .
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif sudo -n true 2>/dev/null || [ -t 0 ]; then
        sudo "$@"
    else
        fail "this needs root: $*"
    fi
}

apt_install() {
    as_root apt-get update -qq || true
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" \
        >/dev/null || fail "apt-get could not install: $*"
}

can_draw() { .venv/bin/python -m envs.doctor --only renderer >/dev/null 2>&1; }

# SAPIEN draws with Vulkan. Without a GPU that is Mesa's lavapipe: 22.3 lacks a feature it needs,
# 23.2 (Ubuntu 22.04) and newer have it.
install_renderer() {
    can_draw && return
    command -v apt-get >/dev/null || fail "SAPIEN cannot draw a frame here; install a Vulkan driver" \
        "(Mesa's lavapipe 23.2 or newer will do) and run ./setup.sh again"
    say "installing a software Vulkan driver"
    . /etc/os-release
    if [ "${VERSION_CODENAME:-}" = bookworm ]; then
        add_backports
        apt_install libgl1 libglib2.0-0 libvulkan1
        apt_install -t bookworm-backports mesa-vulkan-drivers
    else
        apt_install libgl1 libvulkan1 mesa-vulkan-drivers
    fi
    can_draw && return
    .venv/bin/python -m envs.doctor --only renderer || true
    fail "SAPIEN still cannot draw a frame; what the doctor said above is the reason"
}

# Debian's own archive of newer packages, signed by the same key, from the mirror already in use.
add_backports() {
    as_root apt-get update -qq || true
    local list mirror
    list=$(apt-get indextargets --format '$(CODENAME) $(RELEASE) $(REPO_URI)' 'Created-By: Packages')
    grep -q 'bookworm-backports' <<<"$list" && return
    mirror=$(awk '$1 == "bookworm" || $2 == "bookworm" {print $3; exit}' <<<"$list")
    [ -n "$mirror" ] || fail "apt has no Debian 12 archive configured; add bookworm-backports to it"
    printf 'Types: deb\nURIs: %s\nSuites: bookworm-backports\nComponents: main\nSigned-By: %s\n' \
        "$mirror" /usr/share/keyrings/debian-archive-keyring.gpg |
        as_root tee /etc/apt/sources.list.d/bookworm-backports.sources >/dev/null
}

install_extras() {
    local stamp
    stamp="$(sha256sum <requirements-extras.lock)"
    [ "$(cat .venv/.extras 2>/dev/null)" = "$stamp" ] && return
    say "installing the packages of requirements-extras.lock"
    use_uv
    uv_install --no-deps -r requirements-extras.lock ||
        pip_install --no-deps -r requirements-extras.lock ||
        fail "the packages of requirements-extras.lock could not be installed"
    echo "$stamp" >.venv/.extras
}

main() {
    [ "$(uname -sm)" = 'Linux x86_64' ] || fail "this runs on Linux on x86-64 only"
    local torch stamp python
    torch=$(wanted_torch)
    stamp="$torch $(cat setup.sh requirements.lock pyproject.toml | sha256sum | cut -d' ' -f1)"
    if [ "$(cat .venv/.set-up 2>/dev/null)" != "$stamp" ]; then
        python=$(find_python)
        make_environment "$python"
        use_uv
        install_torch "$torch"
        install_packages
        install_renderer
        echo "$stamp" >.venv/.set-up
        say "ready"
    fi
    [ "${1:-}" != --extras ] || install_extras
}

main "$@"
