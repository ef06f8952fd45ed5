#!/usr/bin/env bash
# Builds the control plane for tests and demos, once for each version of its sources, into a
# cache outside the checkout, and prints the path of the binary. From nothing that takes about a
# quarter of an hour of one core's time; afterwards nothing. With --cached it builds nothing: it
# prints the path where the binary is there, and is silent where it is not.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

GO=${GO:-go}
version=$(sed -n 's/^\tk8s.io\/kubernetes v\(.*\)/\1/p' go.mod)
key=$({ "$GO" env GOVERSION GOOS GOARCH; cat build.sh go.mod go.sum ./*.go; } | sha256sum | cut -c1-16)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/sluice
binary=$cache/controlplane-$version-$key
if [ "${1:-}" = --cached ]; then
	[ ! -x "$binary" ] || echo "$binary"
	exit
fi
mkdir -p "$cache"

# Two checkouts may ask at once: the second waits for the first.
exec 9>"$binary.lock"
flock 9
if [ ! -x "$binary" ]; then
	echo "building a Kubernetes $version control plane into $cache (once)" >&2
	minor=${version#1.}
	package=k8s.io/component-base/version
	# Helm charts and clients ask the server for its version.
	stamp="-X $package.gitVersion=v$version -X $package.gitMajor=1 -X $package.gitMinor=${minor%%.*} -X $package.gitTreeState=clean"
	CGO_ENABLED=0 GOGC=400 "$GO" build -buildvcs=false -trimpath -ldflags "-s -w $stamp" -o "$binary.new" .
	mv "$binary.new" "$binary"
fi
echo "$binary"
