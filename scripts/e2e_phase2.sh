#!/bin/sh
# Check a running platform from outside, as its customers use it: budgets, the 402, usage, checkout, keys, rate limits,
# metrics. scripts/e2e_phase2.sh
#
# API_URL (http://127.0.0.1:8080) and SPELL_API_KEY, a key with every scope. SPELL names a spell to cast; without it the
# shipped hello.wasm is published first. It makes a key and a daily budget and takes both away again.
set -eu

: "${API_URL:=http://127.0.0.1:8080}"
if [ -z "${SPELL_API_KEY:-}" ]; then
    echo "error: set SPELL_API_KEY to a key with every scope" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")/.." && pwd)
answer=$(mktemp)
budget=''
prefix=''
passed=0

tidy() {
    [ -z "$budget" ] || ask DELETE "/v1/budgets/$budget" >/dev/null 2>&1 || :
    [ -z "$prefix" ] || ask DELETE "/v1/keys/$prefix" >/dev/null 2>&1 || :
    rm -f "$answer"
}
trap tidy EXIT

# ask METHOD PATH [CURL ARGUMENTS …]: print the status, leave the body in $answer. $key is who asks.
key=$SPELL_API_KEY
ask() {
    method=$1 path=$2
    shift 2
    printf 'Authorization: Bearer %s\n' "$key" |
        curl --silent --show-error --max-time 60 --header @- --request "$method" --output "$answer" \
            --write-out '%{http_code}' "$@" "$API_URL$path"
}

json() {
    ask "$1" "$2" --header 'Content-Type: application/json' --data "$3"
}

# expect WHAT STATUS GOT
expect() {
    if [ "$2" != "$3" ]; then
        echo "FAILED  $1: expected $2, got $3" >&2
        sed -n 1,20p "$answer" >&2
        exit 1
    fi
    passed=$((passed + 1))
    echo "ok      $1"
}

field() {
    sed -n "s/.*\"$1\": *\"\{0,1\}\([^\",}]*\).*/\1/p" "$answer" | sed -n 1p
}

# The sum of a counter over its labels.
metric() {
    ask GET /metrics >/dev/null
    awk -v name="$1" '$1 == name || index($1, name "{") == 1 { sum += $2 } END { printf "%d\n", sum }' "$answer"
}

expect "health" 200 "$(ask GET /healthz)"
expect "ready" 200 "$(ask GET /readyz)"
expect "metrics" 200 "$(ask GET /metrics)"
for name in spell_cast_total spell_rate_limited_total spell_budget_blocked_total spell_stripe_webhook_total; do
    grep -q "^# TYPE $name" "$answer" || { echo "FAILED  metrics: $name is missing" >&2; exit 1; }
done

if [ -z "${SPELL:-}" ]; then
    expect "who am I" 200 "$(ask GET /auth/me)"
    handle=$(field handle)
    ask PUT "/v1/spells/$handle/hello/versions/1.0.0" --header 'Content-Type: application/wasm' \
        --data-binary "@$here/spells/built/hello.wasm" >/dev/null
    SPELL="$handle/hello"
fi
cast="{\"spell\": \"$SPELL\", \"input\": \"Ada\"}"

expect "a budget is made" 201 "$(json POST /v1/budgets '{"period": "daily", "scope": "account", "hard_limit_cents": 0}')"
budget=$(field id)
expect "budgets are listed" 200 "$(ask GET /v1/budgets)"
blocked=$(metric spell_budget_blocked_total)
expect "a cast over the limit is refused" 402 "$(json POST /v1/cast "$cast")"
expect "and says why" budget_exceeded "$(field error)"
expect "which is counted" $((blocked + 1)) "$(metric spell_budget_blocked_total)"
expect "the budget is raised" 200 "$(json PUT "/v1/budgets/$budget" '{"hard_limit_cents": 100000}')"
expect "a cast is accepted" 200 "$(json POST /v1/cast "$cast")"
expect "usage of budgets" 200 "$(ask GET /v1/budgets/usage)"
expect "usage" 200 "$(ask GET /v1/usage)"
expect "the budget is deleted" 204 "$(ask DELETE "/v1/budgets/$budget")"
budget=''

status=$(json POST /v1/billing/checkout '{"plan": "pro"}')
case $status in
    200) expect "checkout answers with its page" http "$(field url | cut -c1-4)" ;;
    *) echo "skipped checkout: billing answers $status $(field error)" ;;
esac
heard=$(metric spell_stripe_webhook_total)
expect "a webhook with a bad signature is refused" 400 \
    "$(ask POST /webhooks/stripe --header 'Stripe-Signature: t=1,v1=00' --data '{}')"
[ "$status" != 200 ] || expect "which is counted" $((heard + 1)) "$(metric spell_stripe_webhook_total)"

expect "a key is made" 201 "$(json POST /v1/keys '{"name": "e2e", "rate_limit_rpm": 2}')"
prefix=$(field prefix)
mine=$key
key=$(field key)
limited=$(key=$mine metric spell_rate_limited_total)
expect "it works" 200 "$(ask GET /v1/budgets)"
ask GET /v1/budgets >/dev/null
expect "and is limited" 429 "$(ask GET /v1/budgets)"
key=$mine
[ "$(metric spell_rate_limited_total)" -gt "$limited" ] || { echo "FAILED  a 429 is not counted" >&2; exit 1; }
expect "keys are listed" 200 "$(ask GET /v1/keys)"
expect "the key is revoked" 204 "$(ask DELETE "/v1/keys/$prefix")"
prefix=''
echo "all $passed checks passed"
