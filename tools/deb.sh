#!/usr/bin/env bash
# Makes build/deb/blip2_VERSION_ARCHITECTURE.deb: the program, LibTorch's CPU libraries, the manual's page and
# completions. It runs on the release of Debian or Ubuntu that it was made on.
set -euo pipefail
cd "$(dirname "$0")/.."

for tool in patchelf dpkg-shlibdeps; do
    command -v $tool >/dev/null || { echo "deb: $tool is missing: install patchelf and dpkg-dev" >&2; exit 1; }
done
stage=build/deb/stage
libraries=$stage/usr/lib/blip2 share=$stage/usr/share
version=$(sed -n 's/^project(blip2 VERSION \([0-9.]*\).*/\1/p' CMakeLists.txt)
architecture=$(dpkg --print-architecture)
rm -rf build/deb
mkdir -p $stage/DEBIAN build/deb/debian

install -D -s build/blip2 $stage/usr/bin/blip2
install -D -s build/blip2-torch $stage/usr/libexec/blip2/blip2-torch
mkdir -p $libraries
ldd build/blip2-torch | awk '/site-packages/ { print $3 }' | xargs cp -L -t $libraries
patchelf --force-rpath --set-rpath '$ORIGIN' $libraries/*
patchelf --set-rpath '$ORIGIN/../../lib/blip2' $stage/usr/libexec/blip2/blip2-torch

page() { install -D -m 644 /dev/stdin "$share/$1"; }
build/blip2 manual | gzip -9n | page man/man1/blip2.1.gz
build/blip2 completion bash | page bash-completion/completions/blip2
build/blip2 completion zsh | page zsh/vendor-completions/_blip2
build/blip2 completion fish | page fish/vendor_completions.d/blip2.fish
cat LICENSE NOTICE | page doc/blip2/copyright
gzip -9nc CHANGELOG.md | page doc/blip2/changelog.gz
install -D -m 644 -t $share/doc/blip2/examples docs/serve/*
install -D -m 644 -t $share/blip2/recipes recipes/*.toml

printf 'Source: blip2\n\nPackage: blip2\nArchitecture: any\n' >build/deb/debian/control
depends=$(cd build/deb && dpkg-shlibdeps -O --ignore-missing-info -lstage/usr/lib/blip2 \
    -e stage/usr/bin/blip2 -e stage/usr/libexec/blip2/blip2-torch $(printf ' -e %s' stage/usr/lib/blip2/*) 2>/dev/null |
    sed -n 's/^shlibs:Depends=//p')
cat >$stage/DEBIAN/control <<END
Package: blip2
Version: $version
Architecture: $architecture
Maintainer: blip2's authors <blip2@localhost>
Installed-Size: $(du -sk $stage/usr | cut -f1)
Depends: $depends
Recommends: libavif16 | libavif15, libheif1
Section: science
Priority: optional
Description: BLIP-2 as native software
 Captions pictures, answers questions about them, searches them and serves them
 over HTTP by a Querying Transformer between an image encoder and a language
 model; trains that transformer in both of BLIP-2's stages.
END
dpkg-deb --root-owner-group -Zzstd -b $stage build/deb/ >&2
ls -l build/deb/*.deb
