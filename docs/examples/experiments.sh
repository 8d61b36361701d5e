#!/bin/sh
# The API from a shell: make an experiment, run it, wait for its end, look at what it measured, list what there is.
#
#   sh experiments.sh [URL] [DATABASE_TYPE] [TARGET]
#
# URL is that of the service, http://localhost:8000 where none is given. DATABASE_TYPE is sqlite where none is given; of the
# others, the target is where the environment of the service says (POSTGRES_HOST …), unless TARGET names another, such as
# local:postgres. Where the service wants a token, STORELAB_TOKEN is it. The last line is the experiment as JSON.
set -eu

url="${1:-http://localhost:8000}"
database_type="${2:-sqlite}"
target="${3:-}"
seconds_max="${SECONDS_MAX:-300}"

# Asks the service: METHOD PATH [BODY]. Whatever is not a success ends the script, with the problem that the service tells.
ask() {
    body="$(mktemp)"
    set -- "$@" ""
    status="$(curl --silent --show-error --output "$body" --write-out '%{http_code}' --request "$1" "$url$2" \
        ${STORELAB_TOKEN:+--header "Authorization: Bearer $STORELAB_TOKEN"} \
        ${3:+--header "Content-Type: application/json" --data "$3"})"
    cat "$body"
    rm -f "$body"
    case "$status" in
    2*) ;;
    *)
        echo "$1 $2 answered $status" >&2
        exit 1
        ;;
    esac
}

# A text field of a JSON object, at its first place: enough for what stands here, so that no other program is needed.
field() {
    sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" | head -n 1
}

# 1. Create an experiment
if [ -n "$target" ]; then target_field=", \"target\": \"$target\""; else target_field=""; fi
created="$(ask POST /api/v1/experiments/ "{
    \"name\": \"$database_type from a shell\",
    \"database_type\": \"$database_type\",
    \"config\": { \"rows\": 1000$target_field }
}")"
id="$(echo "$created" | field id)"
echo "created  $id ($(echo "$created" | field status))" >&2

# 2. Run it
accepted="$(ask POST "/api/v1/experiments/$id/run")"
echo "run      $(echo "$accepted" | field run_id) ($(echo "$accepted" | field status))" >&2

# 3. Wait for its end
waited=0
while :; do
    found="$(ask GET "/api/v1/experiments/$id")"
    status="$(echo "$found" | field status)"
    case "$status" in
    queued | running) ;;
    *) break ;;
    esac
    waited=$((waited + 1))
    if [ "$waited" -gt "$seconds_max" ]; then
        echo "no end within $seconds_max seconds" >&2
        exit 1
    fi
    sleep 1
done
echo "ended    $status" >&2

# 4. List what there is, newest first
listed="$(ask GET /api/v1/experiments/)"
case "$listed" in
*"$id"*) echo "listed   it is among the newest experiments" >&2 ;;
*)
    echo "the experiment is not in the list" >&2
    exit 1
    ;;
esac

# 5. The results
echo "$found"
[ "$status" = completed ]
