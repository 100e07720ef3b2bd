#!/usr/bin/env bash
# Open the course's image on this repository, or run one command in it.
#
#   bash run_docker.sh                                a shell in /workspace/<repository>
#   bash run_docker.sh pytest test_with_ref.py        one command there
#   bash run_docker.sh --help                         this text
#
# Both begin in your repository, so there is no need to change into it first.
#
# The image is taken from this machine, else from a file a_env_v1.tar (or a_env_light_v1.tar, without CUDA) with its
# .sha256 beside this script. A GPU is used when there is one. Files that the command makes belong to you.
#
#   A_ENV_IMAGE=NAME      use this image; pulled if it is not here
#   A_ENV_ENGINE=podman   use this engine; default: docker, else podman
#   A_ENV_GPU=no          do not look for a GPU
#
# Works with bash 3.2 and later, on Linux, macOS and WSL.
set -euo pipefail

VERSION=1

say() { printf '%s\n' "run_docker.sh: $*" >&2; }
fail() { # fail WHAT NEXT
    say "$1"
    say "next: $2"
    exit 1
}

help() { # prints the text at the top of this file
    local line
    while IFS= read -r line; do
        case $line in
            '#!'*) ;;
            '#'*)
                line=${line#\#}
                printf '%s\n' "${line# }"
                ;;
            *) return ;;
        esac
    done < "${BASH_SOURCE[0]}"
}

case ${1:-} in
    -h | --help)
        help
        exit 0
        ;;
    -*) fail "$1: there is no such option" "bash run_docker.sh --help" ;;
esac

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)

# ── the engine ───────────────────────────────────────────────────────────────────────────────────────────

engine=()   # the command, preceded by sudo if that is needed
kind=       # docker or podman; the command `docker` may be podman's imitation of it
rootless=no # whether root in the container is the caller outside

is_wsl() { grep -qi microsoft /proc/version 2>/dev/null; }

how_to_start() {
    if [[ $kind == podman ]]; then
        echo "podman machine start (macOS), or see what \`podman info\` says"
    elif [[ $(uname -s) == Darwin ]]; then
        echo "start Docker Desktop, wait for its whale to be still, then run this again"
    elif is_wsl; then
        echo "start Docker Desktop and switch on its WSL integration, or inside WSL: sudo service docker start"
    else
        echo "sudo systemctl start docker, then run this again"
    fi
}

find_engine() {
    local name=${A_ENV_ENGINE:-} printed
    if [[ -z $name ]]; then
        for name in docker podman none; do
            if command -v "$name" >/dev/null 2>&1; then break; fi
        done
    fi
    if [[ $name == none ]]; then
        fail "neither docker nor podman is installed" \
            "install one (Debian, Ubuntu: sudo apt-get install docker.io; macOS, Windows: Docker Desktop)"
    fi
    command -v "$name" >/dev/null 2>&1 ||
        fail "A_ENV_ENGINE=$name: there is no such command" "set it to docker or podman, or unset it"
    kind=docker
    case $("$name" --version 2>/dev/null) in *[Pp]odman*) kind=podman ;; esac

    engine=("$name")
    if printed=$("$name" info 2>&1); then
        case $printed in *rootless*) rootless=yes ;; esac
        if [[ $kind == podman && $(id -u) != 0 ]]; then rootless=yes; fi
        return
    fi
    case $printed in
        *"permission denied"* | *"Permission denied"*)
            if [[ $(id -u) != 0 ]] && command -v sudo >/dev/null 2>&1; then
                say "this user may not talk to $name; trying with sudo"
                if sudo "$name" info >/dev/null; then
                    engine=(sudo "$name")
                    return
                fi
            fi
            fail "this user may not talk to $name" \
                "sudo usermod -aG docker $(id -un), log out and in again; or run this script with sudo"
            ;;
    esac
    say "$(printf '%s\n' "$printed" | tail -n 1)"
    fail "$name does not answer" "$(how_to_start)"
}

# ── the image ────────────────────────────────────────────────────────────────────────────────────────────

image=

has_image() { "${engine[@]}" image inspect "$1" >/dev/null 2>&1; }

check_sum() { # check_sum FILE
    local file=$1 wanted got
    [[ -f $file.sha256 ]] ||
        fail "$file.sha256 is missing, so $(basename "$file") cannot be checked" \
            "download it from where you got $(basename "$file"), and put it beside it"
    # 64 hexadecimal digits: some tools write capitals, a byte order mark or \r beside them
    wanted=$(tr 'A-F' 'a-f' < "$file.sha256" | grep -oE '[0-9a-f]{64}' | head -n 1) ||
        fail "$file.sha256 has no checksum" "download it again"
    if command -v sha256sum >/dev/null 2>&1; then
        got=$(sha256sum "$file" | cut -d ' ' -f 1)
    elif command -v shasum >/dev/null 2>&1; then
        got=$(shasum -a 256 "$file" | cut -d ' ' -f 1)
    else
        fail "neither sha256sum nor shasum is installed" "install coreutils"
    fi
    [[ $got == "$wanted" ]] ||
        fail "$(basename "$file") is not what it should be: its checksum is $got, not $wanted" \
            "delete it and download it again"
}

load_image() { # load_image FILE NAME
    say "checking and loading $(basename "$1"); this takes a minute, once"
    check_sum "$1"
    "${engine[@]}" load -i "$1" >&2 ||
        fail "$(basename "$1") could not be loaded" "look whether the disk is full: df -h, ${engine[*]} system df"
    has_image "$2" ||
        fail "$(basename "$1") does not hold the image $2" "ask the staff for the file of version $VERSION"
}

find_image() {
    local name file
    if [[ -n ${A_ENV_IMAGE:-} ]]; then
        image=$A_ENV_IMAGE
        if has_image "$image"; then return; fi
        say "pulling $image"
        "${engine[@]}" pull "$image" >&2 ||
            fail "the image $image is not here and could not be pulled" \
                "check the name and the network, or put a_env_v$VERSION.tar beside this script and unset A_ENV_IMAGE"
        return
    fi
    for name in a_env a_env_light; do
        image=$name:v$VERSION
        if has_image "$image"; then return; fi
    done
    for name in a_env a_env_light; do
        image=$name:v$VERSION
        file=$here/${name}_v$VERSION.tar
        if [[ -f $file ]]; then
            load_image "$file" "$image"
            return
        fi
    done
    fail "the course's image is not on this machine" \
        "put a_env_v$VERSION.tar (or a_env_light_v$VERSION.tar, without CUDA) and its .sha256 into $here, or set A_ENV_IMAGE"
}

# ── the GPU ──────────────────────────────────────────────────────────────────────────────────────────────

gpu=()

find_gpu() {
    local smi=nvidia-smi printed option
    if [[ ${A_ENV_GPU:-} == no ]]; then
        say "CPU only, as A_ENV_GPU=no asks"
        return
    fi
    if ! command -v "$smi" >/dev/null 2>&1 && [[ -x /usr/lib/wsl/lib/nvidia-smi ]]; then
        smi=/usr/lib/wsl/lib/nvidia-smi
    fi
    if ! "$smi" -L >/dev/null 2>&1; then
        say "no NVIDIA GPU found: using the CPU"
        return
    fi
    if [[ $kind == podman ]]; then option=(--device nvidia.com/gpu=all); else option=(--gpus all); fi
    if printed=$("${engine[@]}" run --rm "${option[@]}" --network none --entrypoint true "$image" 2>&1); then
        gpu=("${option[@]}")
        return
    fi
    say "there is a GPU, but $kind cannot use it: $(printf '%s\n' "$printed" | tail -n 1)"
    say "using the CPU; to change that install the NVIDIA Container Toolkit, then restart $kind"
}

# ── the command ──────────────────────────────────────────────────────────────────────────────────────────

find_engine
find_image
find_gpu

case $here in
    *[,:]*) fail "the folder $here has a comma or a colon in its name" "rename it, then run this again" ;;
esac

# Files that are written belong to the caller, also if the caller uses sudo.
uid=${SUDO_UID:-$(id -u)}
gid=${SUDO_GID:-$(id -g)}
user=(--user "$uid:$gid")
if [[ $kind == podman && $rootless == yes && ${engine[0]} != sudo ]]; then
    user=(--userns keep-id --user "$uid:$gid")
elif [[ $rootless == yes && ${engine[0]} != sudo ]]; then
    user=(--user 0:0) # in a rootless engine, that is the caller
fi

terminal=()
if [[ -t 0 && -t 1 ]]; then terminal=(--tty); fi
label=()
if command -v getenforce >/dev/null 2>&1 && [[ $(getenforce) == Enforcing ]]; then
    label=(--security-opt label=disable) # the repository keeps its labels
fi

workspace=/workspace/$(basename "$here")
# An empty array is an error in bash 3.2 with set -u, hence the "${x[@]+...}".
status=0
"${engine[@]}" run --rm --interactive --init --shm-size 1g \
    ${terminal[@]+"${terminal[@]}"} ${gpu[@]+"${gpu[@]}"} ${label[@]+"${label[@]}"} "${user[@]}" \
    --env HOME=/tmp --env "USER=$(id -un "$uid" 2>/dev/null || echo student)" \
    --mount "type=bind,source=$here,target=$workspace" --workdir "$workspace" \
    "$image" "${@:-bash}" || status=$?
if [[ $status == 125 ]]; then
    fail "$kind could not start the container" "read its message above; on macOS share the folder: Settings, Resources"
fi
exit "$status"
