#!/usr/bin/env bash
# Builds the helm that tools/go.mod names, once for each of its versions, into a cache outside the
# checkout, and prints the path of the binary. With --cached it builds nothing: it prints the path
# where the binary is there, and is silent where it is not.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../tools"

GO=${GO:-go}
version=$(sed -n 's|^\thelm.sh/helm/v3 v\([^ ]*\).*|\1|p' go.mod)
kubernetes=$(sed -n 's|^\tk8s.io/client-go v0.\([0-9]*\)\..*|\1|p' go.mod)
key=$({ "$GO" env GOVERSION GOOS GOARCH; echo "$kubernetes"; cat ../test/chart/helm.sh; } | sha256sum | cut -c1-16)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/sluice
binary=$cache/helm-$version-$key
if [ "${1:-}" = --cached ]; then
	[ ! -x "$binary" ] || echo "$binary"
	exit
fi
mkdir -p "$cache"

# Two checkouts may ask at once: the second waits for the first.
exec 9>"$binary.lock"
flock 9
if [ ! -x "$binary" ]; then
	echo "building helm $version into $cache (once)" >&2
	# Without it helm takes every cluster that it does not ask for Kubernetes 1.20.
	package=helm.sh/helm/v3/pkg/chartutil
	stamp="-X $package.k8sVersionMajor=1 -X $package.k8sVersionMinor=$kubernetes"
	CGO_ENABLED=0 "$GO" build -buildvcs=false -trimpath -ldflags "-s -w $stamp" -o "$binary.new" helm.sh/helm/v3/cmd/helm
	mv "$binary.new" "$binary"
fi
echo "$binary"
