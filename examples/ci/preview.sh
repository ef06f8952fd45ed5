#!/bin/sh
# Previews what a change would do to the fleet, in any pipeline: no cluster, no credentials.
#
#   preview.sh [BASE [HEAD]]     BASE: what the fleet follows, origin/main unless given; HEAD: the checkout
#
# The report goes to standard output and to the file $SLUICE_REPORT (sluice-preview.md).
# Exit codes: 0 nothing stands against it, 3 the verdict is deny, others: there is no preview.
set -eu

base=${1:-${SLUICE_BASE:-origin/main}}
head=${2:-HEAD}
report=${SLUICE_REPORT:-sluice-preview.md}

code=0
"${SLUICE:-sluice}" preview . --base "$base" --head "$head" --output markdown --exit-code >"$report" || code=$?
cat "$report"
if [ -n "${GITHUB_STEP_SUMMARY:-}" ]; then # the page of the run shows it
	cat "$report" >>"$GITHUB_STEP_SUMMARY"
fi
if [ "$code" -eq 3 ]; then
	echo "preview.sh: the verdict is deny: see the findings above" >&2
fi
exit "$code"
