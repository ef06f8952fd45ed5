#!/usr/bin/env bash
# Builds promtool, which checks and unit-tests the alert rules, once for each version, into a cache
# outside the checkout, and prints the path of the binary. From nothing that takes about two and a
# half minutes of one core's time; afterwards nothing. With --cached it builds nothing: it prints
# the path where the binary is there, and is silent where it is not.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

GO=${GO:-go}
package=github.com/prometheus/prometheus
version=$(sed -n "s|.*$package v\([0-9][0-9.]*\).*|\1|p" go.mod | head -1)
key=$({ "$GO" env GOVERSION GOOS GOARCH; cat build.sh go.mod go.sum; } | sha256sum | cut -c1-16)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/sluice
binary=$cache/promtool-$version-$key
if [ "${1:-}" = --cached ]; then
	[ ! -x "$binary" ] || echo "$binary"
	exit
fi
mkdir -p "$cache"

# Two checkouts may ask at once: the second waits for the first.
exec 9>"$binary.lock"
flock 9
if [ ! -x "$binary" ]; then
	echo "building promtool $version into $cache (once)" >&2
	# Service discovery is none of its business here, and most of what Prometheus links. It is why
	# go mod tidy, which looks past build tags, is not run on this module.
	CGO_ENABLED=0 "$GO" build -buildvcs=false -trimpath -tags remove_all_sd -ldflags '-s -w' -o "$binary.new" "$package/cmd/promtool"
	mv "$binary.new" "$binary"
fi
echo "$binary"
