#!/bin/bash
# Whether the service of this container answers /health/live, with nothing but the shell.
#   storelab-health [PORT]
set -eu
port="${1:-8000}"
exec 3<>"/dev/tcp/127.0.0.1/$port"
printf 'GET /health/live HTTP/1.1\r\nHost: localhost:%s\r\nConnection: close\r\n\r\n' "$port" >&3
IFS=' ' read -r -t 3 _ status _ <&3
[ "$status" = 200 ]
