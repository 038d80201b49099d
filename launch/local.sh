#!/usr/bin/env bash
# Runs a command as N processes on this machine, as a cluster would run it on N machines, on its CPU.
#
#   launch/local.sh --processes=2 --devices=4 python -m emjax.main --config configs/pretrain.py:smoke
#
#   --processes=N   how many (default 2); each gets --coordinator, --num_processes and --process_id
#   --devices=M     virtual CPU devices of each process (default 1)
#   --grace_s=S     seconds that the others have once one failed, before they are killed (default 20)
#
# Each line of output begins with the number of its process. SIGTERM or Ctrl-C lets all finish their step and save; a
# second one kills them. Exit status: that of the first process that failed; 75 if all that did not finish saved.
set -euo pipefail

processes=2
devices=1
grace_s=20

# The text at the head of this file.
help() {
    awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "${BASH_SOURCE[0]}"
    exit 0
}

refuse() {
    echo "local.sh: $1" >&2
    exit 2
}

while (($#)); do
    case $1 in
    -h | --help) help ;;
    --processes=*) processes=${1#*=} ;;
    --devices=*) devices=${1#*=} ;;
    --grace_s=*) grace_s=${1#*=} ;;
    --) shift && break ;;
    --*) refuse "unknown option $1; the options are --processes=N, --devices=M and --grace_s=S" ;;
    *) break ;;
    esac
    shift
done
for number in "$processes" "$devices" "$grace_s"; do
    [[ $number =~ ^[1-9][0-9]*$ ]] || refuse "'$number' must be a whole number above 0"
done
(($#)) || refuse "give the command, as in: launch/local.sh --processes=2 python -m emjax.main --config FILE"

# Below the range from which the system hands out ports, so that nobody else is given it meanwhile.
free_port() {
    local port
    while true; do
        port=$((20000 + RANDOM % 12000))
        (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    echo "$port"
}

prefix() {
    local line
    while IFS= read -r line || [[ -n $line ]]; do
        printf '[%s] %s\n' "$1" "$line"
    done
}

pipes=$(mktemp -d)
trap 'rm -rf "$pipes"' EXIT
port=$(free_port)
export JAX_PLATFORMS=cpu JAX_NUM_CPU_DEVICES=$devices

pids=()
readers=()
asked=0
ask() {
    asked=$((asked + 1))
    local pid
    for pid in ${pids[@]+"${pids[@]}"}; do
        if ((asked == 1)); then
            # The process alone: its helpers are its own affair.
            kill -TERM "$pid" 2>/dev/null || true
        else
            kill -KILL -- "-$pid" 2>/dev/null || true
        fi
    done
}
trap ask HUP INT TERM

# Each job in a group of its own: Ctrl-C of a terminal then reaches this script alone, which hands it on as SIGTERM.
set -m
for ((i = 0; i < processes; i++)); do
    mkfifo "$pipes/$i.out" "$pipes/$i.err"
    prefix "$i" <"$pipes/$i.out" &
    readers+=($!)
    prefix "$i" <"$pipes/$i.err" >&2 &
    readers+=($!)
    "$@" "--coordinator=localhost:$port" "--num_processes=$processes" "--process_id=$i" \
        <"/dev/null" >"$pipes/$i.out" 2>"$pipes/$i.err" &
    pids+=($!)
done
# What this script waits with stays in its own group, and in the foreground.
set +m
# A signal that came meanwhile was heard by those alone that had been started.
if ((asked)); then
    asked=0
    ask
fi

status=0
deadline=
running=("${pids[@]}")
while ((${#running[@]})); do
    still=()
    for pid in "${running[@]}"; do
        if kill -0 "$pid" 2>/dev/null; then
            still+=("$pid")
            continue
        fi
        code=0
        wait "$pid" || code=$?
        # The first failure is the cause of those after it; 75 is none, and gives way to one.
        if ((code && (status == 0 || status == 75))); then
            status=$code
        fi
        if ((code && code != 75)) && [[ -z $deadline ]]; then
            # The others would wait for it.
            deadline=$((SECONDS + grace_s))
            ((asked)) || ask
        fi
    done
    running=(${still[@]+"${still[@]}"})
    if [[ -n $deadline ]] && ((SECONDS >= deadline)); then
        ask
    fi
    # Ctrl-C ends it as well, which is no failure.
    ((${#running[@]} == 0)) || sleep 0.1 || true
done

# What is left in the pipes; a helper that outlived its process may hold them open.
for ((i = 0; i < 20; i++)); do
    left=0
    for pid in "${readers[@]}"; do
        if kill -0 "$pid" 2>/dev/null; then left=1; fi
    done
    ((left)) || break
    sleep 0.1 || true
done
kill "${readers[@]}" 2>/dev/null || true
exit "$status"
