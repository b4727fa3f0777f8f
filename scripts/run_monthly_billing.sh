#!/bin/sh
# Bill a month: scripts/run_monthly_billing.sh [YYYY-MM]; without a month, the last one.
#
# ADMIN_SECRET and API_URL say where. Safe to repeat: an account has one invoice a month. It asks again until nothing is
# under way, for MINUTES_MAX (30) at most. Exit code: 0 done, 1 errors or still under way, 2 a setting is missing.
set -eu

: "${API_URL:=http://127.0.0.1:8080}"
: "${MINUTES_MAX:=30}"
if [ -z "${ADMIN_SECRET:-}" ]; then
    echo "error: set ADMIN_SECRET to the api's own setting of that name" >&2
    exit 2
fi
period=${1:-}
body='{}'
[ -z "$period" ] || body="{\"period\": \"$period\"}"

# The secret goes through a pipe: arguments of a program can be read by everybody on the machine.
ask() {
    printf 'X-Admin-Secret: %s\n' "$ADMIN_SECRET" |
        curl --silent --show-error --max-time 60 --header @- --header 'Content-Type: application/json' \
            --data "$body" --write-out '\n%{http_code}' "$API_URL/admin/billing/process-monthly"
}

number() {
    printf '%s' "$2" | sed -n "s/.*\"$1\": *\([0-9][0-9]*\).*/\1/p"
}

ends=$(($(date +%s) + MINUTES_MAX * 60))
while :; do
    answer=$(ask) || { echo "error: $API_URL does not answer; run this again, it goes on where it stopped" >&2; exit 1; }
    status=${answer##*
}
    summary=${answer%
*}
    if [ "$status" != 200 ]; then
        echo "error: $API_URL answered $status: $summary" >&2
        exit 1
    fi
    echo "$summary"
    [ "$(number pending "$summary")" != 0 ] || break
    if [ "$(date +%s)" -ge "$ends" ]; then
        echo "error: some users are still under way; the platform goes on by itself, run this again to see" >&2
        exit 1
    fi
    sleep 5
done
[ "$(number errors "$summary")" = 0 ]
