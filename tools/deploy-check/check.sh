#!/usr/bin/env bash
# Checks what is in deploy/ by whoever reads it: systemd, hadolint, Compose's own loader, Helm with Kubernetes' schemas,
# Prometheus, dpkg. What this host has not is named as skipped; a check that fails is named too, and the rest goes on.
#
#   check.sh CACHE    tools from package registries are kept in CACHE/deploy-check
set -uo pipefail
cd "$(dirname "$0")/../.." || exit

cache="${1:?check.sh CACHE}/deploy-check"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
mkdir -p "$cache"

# Versions of what comes through Go's module proxy.
helm_version=v3.22.0
compose_version=v2.16.2
# The oldest release of Kubernetes that the chart allows, and the newest that the schemas are of.
kubernetes_versions="1.29 1.37"

passed=0 failed=0 skipped=0
has() { command -v "$1" >/dev/null; }
skip() {
  skipped=$((skipped + 1))
  echo "skipped: $1; $2" >&2
}
# check NAME COMMAND...: runs it silently; shows what it said where it fails.
check() {
  local name="$1" said
  shift
  if said="$("$@" 2>&1)"; then
    passed=$((passed + 1))
    echo "ok: $name"
  else
    failed=$((failed + 1))
    printf 'FAILED: %s\n%s\n' "$name" "$said" >&2
  fi
}

# go_tool NAME PACKAGE: builds a program of a Go module into the cache, once, beside whatever else is to be done.
go_tool() {
  local folder
  folder="$cache/$1-${2##*@}"
  [ -x "$folder/$1" ] && echo "$folder/$1" && return
  has go || return 1
  GOBIN="$folder.new" GOFLAGS=-mod=mod nice go install "$2" >"$cache/$1.log" 2>&1 || return 1
  mkdir -p "$folder" && mv "$folder.new"/* "$folder/$1" && rmdir "$folder.new" && echo "$folder/$1"
}

python_tools() {
  python3 -c 'import ensurepip, venv' 2>/dev/null || return 1
  [ -x "$cache/python/bin/pip" ] || python3 -m venv "$cache/python" || return 1
  "$cache/python/bin/pip" install --quiet --disable-pip-version-check -r tools/deploy-check/requirements.txt
}

# Of Debian's package `prometheus` only the one program, without installing a server.
find_promtool() {
  has promtool && command -v promtool && return
  [ -x "$cache/promtool" ] && echo "$cache/promtool" && return
  has apt-get && has dpkg-deb || return 1
  (cd "$work" && apt-get download prometheus && dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x ./usr/bin/promtool) >/dev/null 2>&1 || return 1
  mv "$work/usr/bin/promtool" "$cache/promtool" && echo "$cache/promtool"
}

# The unit with a program that is there, since what it starts is not installed here.
unit_is_understood() {
  sed "s#^ExecStart=[^ ]*#ExecStart=$(command -v true)#" deploy/systemd/storelab.service >"$work/storelab.service"
  # What it says of other units of this host is not ours.
  local said
  said="$(systemd-analyze verify --man=no --recursive-errors=no "$work/storelab.service" 2>&1)" || { echo "$said"; return 1; }
  ! grep storelab.service <<<"$said"
}

# 0 is best and 10 worst; a service that keeps all of its rights has 9.6.
unit_is_confined() {
  systemd-analyze security --no-pager --offline=true --threshold=20 "$work/storelab.service" | tail -n 3
  [ "${PIPESTATUS[0]}" = 0 ]
}

check_unit() {
  has systemd-analyze || { skip "deploy/systemd" "systemd-analyze is not installed"; return; }
  check "systemd understands the unit" unit_is_understood
  check "the unit is confined" unit_is_confined
}

check_docker() {
  if python_tools; then
    check "hadolint has nothing to say of the Dockerfile" "$cache/python/bin/hadolint" deploy/docker/Dockerfile
    check "shellcheck has nothing to say of scripts" "$cache/python/bin/shellcheck" \
      deploy/docker/health.sh deploy/debian/scripts/* tools/deploy-check/check.sh
  else
    skip "hadolint, shellcheck and Kubernetes' schemas" "python3-venv, or PyPI, is not there"
  fi
  if has docker && docker version >/dev/null 2>&1; then
    check "the image is built" docker build --quiet --file deploy/docker/Dockerfile --tag storelab:check .
  else
    skip "building the image" "no Docker engine is here"
  fi
}

check_compose() {
  local file=deploy/compose/compose.yaml compose
  export POSTGRES_PASSWORD=check GRAFANA_PASSWORD=check
  if docker compose version >/dev/null 2>&1; then
    check "compose reads the file" docker compose --file "$file" config --quiet
  elif compose="$(go_tool compose-go "github.com/compose-spec/compose-go/v2/cmd@$compose_version")"; then
    # Its own command does not hand the environment on, so what must be given is given here.
    sed -E 's/\$\{[A-Z_]+:\?[^}]*\}/check/g' "$file" >"$work/compose.yaml"
    check "compose's loader reads the file" "$compose" "$work/compose.yaml"
  else
    skip "deploy/compose" "Compose is not installed, nor to be had through Go"
  fi
  check "what compose mounts is there" compose_mounts_exist
}

compose_mounts_exist() {
  local path missing=0
  while read -r path; do
    [ -e "deploy/compose/$path" ] || { echo "$path is not there"; missing=1; }
  done < <(grep -o '\(- \|"\)\.\.\?/[^:"]*:/' deploy/compose/compose.yaml | sed 's/^\(- \|"\)//; s/:\/$//')
  return "$missing"
}

check_helm() {
  local chart=deploy/helm/storelab helm values version
  helm="$(has helm && command -v helm || go_tool helm "helm.sh/helm/v3/cmd/helm@$helm_version")" ||
    { skip "deploy/helm" "Helm is not installed, nor to be had through Go"; return; }
  check "helm lint" "$helm" lint --strict --quiet "$chart" --values "$chart/ci/shared-values.yaml"
  for version in $kubernetes_versions; do
    [ ! -x "$cache/python/bin/kubernetes-validate" ] ||
      check "Kubernetes $version takes the agents' Job" kubernetes_takes "$version" deploy/kubernetes/agents.yaml
    for values in default shared; do
      local arguments=(--kube-version "$version.0") drawn="$work/$values-$version.yaml"
      [ "$values" = default ] || arguments+=(--values "$chart/ci/$values-values.yaml")
      check "helm draws the chart ($values, Kubernetes $version)" draw "$drawn" "$helm" template lab "$chart" "${arguments[@]}"
      [ -s "$drawn" ] && [ -x "$cache/python/bin/kubernetes-validate" ] || continue
      check "Kubernetes $version takes it ($values)" kubernetes_takes "$version" "$drawn"
    done
  done
  check "the chart refuses values that it has not" refuses replica "$helm" template lab "$chart" --kube-version 1.37.0 --set replica=2
  check "the chart refuses several replicas on one file" refuses "needs results in PostgreSQL" \
    "$helm" template lab "$chart" --kube-version 1.37.0 --set replicas=2
}

# draw FILE COMMAND...: what the command writes, in the file.
draw() {
  local file="$1"
  shift
  "$@" >"$file"
}

# refuses WORDS COMMAND...: whether the command fails and says these words.
refuses() {
  local words="$1" said
  shift
  said="$("$@" 2>&1 >/dev/null)" && { echo "it was taken"; return 1; }
  grep -qF "$words" <<<"$said" || { echo "$said"; return 1; }
}

# What Prometheus' operator defines is no object of Kubernetes.
kubernetes_takes() {
  "$cache/python/bin/python" - "$2" >"$work/known.yaml" <<'PYTHON'
import sys, yaml
documents = [one for one in yaml.safe_load_all(open(sys.argv[1])) if one]
yaml.safe_dump_all([one for one in documents if not one["apiVersion"].startswith("monitoring.coreos.com/")], sys.stdout)
PYTHON
  "$cache/python/bin/kubernetes-validate" --strict --kubernetes-version "$1" "$work/known.yaml"
}

check_prometheus() {
  local promtool
  promtool="$(find_promtool)" || { skip "deploy/prometheus" "promtool is neither installed nor to be had"; return; }
  check "promtool takes the rules" "$promtool" check rules deploy/prometheus/rules.yaml
  check "promtool tests the rules" "$promtool" test rules deploy/prometheus/rules.test.yaml
  # The files that it names are not on this host.
  sed "s#rules.yaml#$PWD/deploy/prometheus/rules.yaml#; s#/run/secrets/prometheus-token#/dev/null#" deploy/compose/prometheus.yaml >"$work/prometheus.yaml"
  check "promtool takes the configuration" "$promtool" check config "$work/prometheus.yaml"
  check "the dashboards can be read" draw "$work/expressions.yaml" python3 tools/deploy-check/expressions.py deploy/grafana/*.json
  check "promtool takes the dashboards' expressions" "$promtool" check rules "$work/expressions.yaml"
  check "every metric that is asked for is one of the service's" metrics_exist
}

# Names as the service's sources have them; a histogram's parts and a counter's ending are made of those.
metrics_exist() {
  local name missing=0
  while read -r name; do
    grep -rqE "\"(storelab_)?$(sed -E 's/^storelab_//; s/_(bucket|sum|count|total)$//' <<<"$name")(_total)?\"" crates/server/src ||
      { echo "$name is not among the service's metrics"; missing=1; }
  done < <(grep -oh 'storelab_[a-z0-9_]*' deploy/prometheus/*.yaml deploy/grafana/*.json | sort -u)
  return "$missing"
}

check_package() {
  local package
  package="$(find "${CARGO_TARGET_DIR:-target}/debian" -name 'storelab_*.deb' 2>/dev/null | sort | tail -n 1)"
  [ -n "$package" ] || { skip "the Debian package" "there is none: make deb"; return; }
  check "dpkg reads the package" dpkg-deb --info "$package"
  check "the package has what it should" package_is_whole "$package"
}

package_is_whole() {
  local path missing=0
  dpkg-deb --contents "$1" >"$work/contents"
  for path in usr/bin/storelab usr/lib/systemd/system/storelab.service usr/lib/sysusers.d/storelab.conf etc/storelab/config.yaml \
    etc/storelab/storelab.env usr/share/doc/storelab/copyright; do
    grep -q "\./$path" "$work/contents" || { echo "$path is missing"; missing=1; }
  done
  [ "$(dpkg-deb --info "$1" conffiles | sort | tr '\n' ' ')" = "/etc/storelab/config.yaml /etc/storelab/storelab.env " ] ||
    { echo "not the configuration files that are meant"; missing=1; }
  return "$missing"
}

check_unit
check_docker
check_compose
check_helm
check_prometheus
check_package
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
