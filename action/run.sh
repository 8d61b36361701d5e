#!/usr/bin/env bash
# Runs a plan, compares it with a baseline, and writes the summary: what the action does, and what any other CI can do.
#
# Its inputs are those of action.yml, as environment variables called INPUT_NAME with `-` as `_`:
#   INPUT_PLAN           a plan's file, or a target
#   INPUT_ARGUMENTS      further arguments of `storelab run`, one a line
#   INPUT_BASELINE       a plan that is run in turn with this one, or a run in the results store
#   INPUT_BASELINE_REF   the same, with the plan as it is in that git ref
#   INPUT_REPEAT         how often both are run in turn
#   INPUT_FAIL_ON        `slower`, or `never`
#   INPUT_KEEP           `true`: this run is the baseline of those to come, if it is worth it
#   INPUT_RESULTS        the folder for everything that is written
#   INPUT_SUMMARY        `false`: nothing is appended to GITHUB_STEP_SUMMARY
#   INPUT_STORELAB       the program
#
# Where neither baseline is given it is the last run that was kept in `$INPUT_RESULTS/baseline`, which a CI carries from one
# job to the next; where there is none yet, nothing is compared. The exit code is Storelab's: 4 the run is invalid, 5 its
# data are wrong, 99 a threshold failed, or the comparison's where it says slower.
set -euo pipefail

plan="${INPUT_PLAN:?name a plan, or a target}"
results="${INPUT_RESULTS:-storelab-results}"
fail_on="${INPUT_FAIL_ON:-slower}"
repeat="${INPUT_REPEAT:-5}"
storelab="${INPUT_STORELAB:-storelab}"
baseline="${INPUT_BASELINE:-}"

record="$results/record.json"
report="$results/report.html"
summary="$results/summary.md"
comparison="$results/comparison.md"
kept="$results/baseline"

# usage MESSAGE HINT: what was asked cannot work, in Storelab's own words and exit code.
usage() {
  printf 'error: %s\nhint: %s\n' "$1" "$2" >&2
  exit 2
}

case "$fail_on" in slower | never) ;; *) usage "fail-on is \`$fail_on\`" "write slower, or never" ;; esac
case "$repeat" in '' | 0* | *[!0-9]*) usage "repeat is \`$repeat\`" "write a whole number from 1 on" ;; esac
command -v "$storelab" >/dev/null || usage "there is no program \`$storelab\`" "build it, or say where it is"
if [ -n "$baseline" ] && [ -n "${INPUT_BASELINE_REF:-}" ]; then
  usage "there are a baseline and a baseline-ref" "give one of them"
fi

mkdir -p "$kept"
rm -f "$record" "$report" "$summary" "$comparison"
export STORELAB_STORE="$kept/results.db"

if [ -n "${INPUT_BASELINE_REF:-}" ]; then
  baseline="$results/baseline-plan.${plan##*.}"
  git show "$INPUT_BASELINE_REF:./$plan" >"$baseline" ||
    usage "\`$plan\` is not in \`$INPUT_BASELINE_REF\`" "fetch that ref (fetch-depth: 0 for actions/checkout), or name another"
fi

arguments=()
while IFS= read -r argument; do
  [ -z "$argument" ] || arguments+=("$argument")
done <<<"${INPUT_ARGUMENTS:-}"

compare_flags=(--markdown "$comparison")
[ "$fail_on" = never ] || compare_flags+=(--fail-on "$fail_on")

run_flags=(--json --report "$report")
if [ -n "$baseline" ]; then
  run_flags+=(--baseline "$baseline" --repeat "$repeat" "${compare_flags[@]}")
else
  run_flags+=(--summary-file "$summary")
fi

code=0
"$storelab" run "$plan" ${arguments[@]+"${arguments[@]}"} "${run_flags[@]}" >"$record" || code=$?
# The document's own id is the only one that is indented by two.
run="$(sed -n 's/^  "id": "\([0-9a-f-]*\)",*$/\1/p' "$record" | head -n 1)"

compared=0
# With a run that failed a threshold there would be two things to say; the threshold is one already.
if [ "$code" = 0 ] && [ -z "$baseline" ] && [ -n "$run" ] && [ -f "$kept/run" ]; then
  "$storelab" compare "$(cat "$kept/run")" "$run" "${compare_flags[@]}" >&2 || compared=$?
fi
# A run that is worth nothing is no measure for others; one that is slower is what there is from now on.
if [ "${INPUT_KEEP:-false}" = true ] && [ "$code" = 0 ] && [ -n "$run" ]; then
  printf '%s\n' "$run" >"$kept/run"
  keep=true
else
  keep=false
fi

# Only runs that ended well are compared, so that a comparison that was made says what 99 means.
case "$code,$compared" in
  0,0) verdict=passed ;;
  0,99) verdict=slower ;;
  0,*) verdict=incomparable ;;
  4,*) verdict=invalid ;;
  5,*) verdict=unverified ;;
  99,*) if grep -q '"change_word": "slower"' "$record"; then verdict=slower; else verdict=threshold; fi ;;
  130,*) verdict=interrupted ;;
  *) verdict=failed ;;
esac
[ "$code" != 0 ] || code="$compared"

{
  if [ -f "$comparison" ]; then
    echo
    cat "$comparison"
  elif [ "$verdict" = incomparable ]; then
    printf '\nThe comparison with the baseline could not be made (exit code %s). The log says why.\n' "$code"
  elif [ ! -f "$summary" ]; then
    printf '## Storelab: %s\n\nNothing was measured (exit code %s). The log says why.\n' "$verdict" "$code"
  fi
} >"$results/more.md"
cat "$results/more.md" >>"$summary"
rm "$results/more.md"
if [ -z "${GITHUB_STEP_SUMMARY:-}" ]; then
  cat "$summary" >&2
elif [ "${INPUT_SUMMARY:-true}" = true ]; then
  cat "$summary" >>"$GITHUB_STEP_SUMMARY"
fi
if [ -n "${GITHUB_OUTPUT:-}" ]; then
  {
    echo "verdict=$verdict"
    echo "exit-code=$code"
    echo "run=$run"
    echo "summary=$summary"
    echo "report=$report"
    echo "record=$record"
    echo "keep=$keep"
  } >>"$GITHUB_OUTPUT"
fi
if [ "$code" != 0 ] && [ -n "${GITHUB_ACTIONS:-}" ]; then
  echo "::error title=Storelab::$verdict (exit code $code); the summary says more"
fi
exit "$code"
