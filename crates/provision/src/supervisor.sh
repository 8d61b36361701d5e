# Runs one server (or one command that prepares it) and outlives whoever started it just long enough to clean up.
#
# Arguments: the stop signal, the name of the command's Docker container or nothing, the folder to remove, the log, the command's input, then the command.
# Standard input is a pipe that the owner holds: when it ends, so did the owner, however that came about (kill -9 too),
# and the command and all that descends from it are stopped, killed after a second, and the folder is removed.
# The line `detach` instead of an end lets the command stay. The first line of output is the command's process number.
# Only what POSIX has, and sleep with fractions: no ps, no pgrep.

signal=$1 container=$2 folder=$3 log=$4 input=$5
shift 5

# When the owner dies while the server is paused, the kernel sends SIGHUP to this process group: it has become an orphan
# with a stopped member. Neither we nor the server may die of it.
trap '' HUP

exec 3<&0 </dev/null
"$@" <"$input" >>"$log" 2>&1 3<&- &
server=$!
# An owner that died this early must not take us along when the number cannot be written.
trap '' PIPE

# Sets `started` to when process $1 started, to nothing where it is gone or only waits to be collected.
read_start() {
    started=
    { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 0
    # The command's name in brackets may hold blanks: the last bracket closes it. Start time is field 22, the 20th after.
    set -- ${line##*) }
    case $1 in Z | X) ;; *) started=${20} ;; esac
}

read_start "$server"
server_started=$started
printf '%s\n' "$server"
exec >/dev/null

# The number alone could be somebody else's by now.
is_alive() {
    read_start "$server"
    [ -n "$started" ] && [ "$started" = "$server_started" ]
}

# Sets `tree` to the server's process number and those of all that descends from it.
read_tree() {
    tree=" $server "
    grew=1
    while [ "$grew" = 1 ]; do
        grew=0
        for stat in /proc/[0-9]*/stat; do
            { read -r line <"$stat"; } 2>/dev/null || continue
            child=${line%% *}
            parent=${line##*) }
            parent=${parent#* }
            parent=${parent%% *}
            case $tree in *" $child "*) continue ;; esac
            case $tree in *" $parent "*) tree="$tree$child " grew=1 ;; esac
        done
    done
}

# Waits until the server is gone, $1 times 50 ms at most.
await_end() {
    patience=$1
    while is_alive && [ "$patience" -gt 0 ]; do
        sleep 0.05
        patience=$((patience - 1))
    done
}

clean_up() {
    trap '' TERM
    if is_alive; then
        kill -"$signal" "$server"
        read_tree
        # What was paused must run to be able to stop.
        kill -CONT $tree
        await_end 20
    fi
    if is_alive; then
        kill -STOP "$server"
        read_tree
        kill -KILL $tree
        await_end 20
    fi
    if [ -n "$container" ]; then docker rm --force "$container" >/dev/null 2>&1; fi
    cd /
    rm -rf -- "$folder"
}

{
    while read -r order; do
        if [ "$order" = detach ]; then exit; fi
    done
    clean_up
} <&3 &
watcher=$!
exec 3<&-

wait "$server"
status=$?
# It dies at once, or ignores this because it is cleaning up, which is then waited for.
kill "$watcher"
wait "$watcher"
exit "$status"
