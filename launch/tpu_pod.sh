#!/usr/bin/env bash
# A Cloud TPU slice, from the request to the end of a run. Needs gcloud, logged in, with a project.
#
#   launch/tpu_pod.sh SUBCOMMAND --name=NAME --zone=ZONE [OPTIONS] [-- COMMAND ...]
#
#   create    ask for the slice (a queued resource), and wait until it is there
#   install   bring Python 3.12 and the commit that is checked out here to every machine of it
#   run       start COMMAND on every machine, in the background
#   tail      follow the log of one machine
#   status    what the slice, and the run on every machine of it, is doing
#   stop      let the run finish its step and save
#   resume    keep COMMAND going until it is done: wait, create anew after a preemption, install, run it again
#   delete    give the slice back
#
#   --type=TYPE         accelerator, as v5litepod-64, v5p-128, v6e-64 (create, resume)
#   --version=VERSION   image of the machines; by default the one for JAX on TYPE
#   --spot              cheap machines that may be taken away at any time
#   --project=PROJECT   by default that of gcloud
#   --network=NAME      by default 'default'
#   --worker=W          machine that tail reads (default 0)
#   --poll_s=S          seconds between two looks at the state (default 60)
#   --dry_run           print the commands, one a line, and run none
#
# COMMAND is that of any other machine, with a work folder that all machines see:
#   launch/tpu_pod.sh run --name=pod --zone=us-west4-a -- \
#       python -m emjax.main --config configs/pretrain.py:ours --workdir gs://BUCKET/ours
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
name='' zone='' project='' network='' type='' version=''
spot=0 worker=0 poll_s=60 dry_run=0
# A crash may be the machine's fault; more of them in a row are the run's.
max_crashes=3

# The text at the head of this file.
help() {
    awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "${BASH_SOURCE[0]}"
    exit 0
}

refuse() {
    echo "tpu_pod.sh: $1" >&2
    exit 2
}

subcommand=${1:-}
case $subcommand in
-h | --help | help) help ;;
create | install | run | tail | status | stop | resume | delete) shift ;;
*) refuse "'$subcommand' is none of create, install, run, tail, status, stop, resume, delete" ;;
esac
while (($#)); do
    case $1 in
    -h | --help) help ;;
    --name=*) name=${1#*=} ;;
    --zone=*) zone=${1#*=} ;;
    --project=*) project=${1#*=} ;;
    --network=*) network=${1#*=} ;;
    --type=*) type=${1#*=} ;;
    --version=*) version=${1#*=} ;;
    --worker=*) worker=${1#*=} ;;
    --poll_s=*) poll_s=${1#*=} ;;
    --spot) spot=1 ;;
    --dry_run) dry_run=1 ;;
    --) shift && break ;;
    *) refuse "unknown option $1; the command to run comes after '--'" ;;
    esac
    shift
done
command=("$@")

[[ $name =~ ^[a-z]([-a-z0-9]*[a-z0-9])?$ ]] || refuse "--name='$name' needs small letters, digits and '-'"
[[ -n $zone ]] || refuse "give --zone=ZONE, as in --zone=us-west4-a"
[[ $worker =~ ^[0-9]+$ && $poll_s =~ ^[0-9]+$ ]] || refuse "--worker and --poll_s must be whole numbers"

if [[ $subcommand == create || $subcommand == resume ]]; then
    [[ -n $type ]] || refuse "give --type=TYPE, as in --type=v5litepod-64"
    if [[ -z $version ]]; then
        case $type in
        v5litepod-*) version=v2-alpha-tpuv5-lite ;;
        v5p-*) version=v2-alpha-tpuv5 ;;
        v6e-*) version=v2-alpha-tpuv6e ;;
        v2-* | v3-* | v4-*) version=tpu-ubuntu2204-base ;;
        *) refuse "--type=$type is not known here: give its image with --version=VERSION" ;;
        esac
    fi
fi
if [[ $subcommand == run || $subcommand == resume ]]; then
    ((${#command[@]})) || refuse "give the command after '--', as in: -- python -m emjax.main --config FILE"
    # The machines share no disk, and lose their own with the slice.
    [[ " ${command[*]}" =~ \ --workdir[\ =]gs:// ]] ||
        refuse "give the command a work folder that all machines see: --workdir gs://BUCKET/FOLDER"
fi

# One word of a command for any POSIX shell.
quote() {
    local escaped="'\\''"
    if [[ $1 =~ ^[A-Za-z0-9_@%+=:,./-]+$ ]]; then
        printf '%s' "$1"
    else
        printf "'%s'" "${1//\'/$escaped}"
    fi
}

quote_all() {
    local word line=''
    for word in "$@"; do line+=" $(quote "$word")"; done
    printf '%s' "${line# }"
}

# Runs a command, or prints it.
act() {
    if ((dry_run)); then
        quote_all "$@"
        echo
    else
        "$@"
    fi
}

where=("--zone=$zone")
[[ -z $project ]] || where+=("--project=$project")

# What runs on the machines, whose shells do the expanding.
# shellcheck disable=SC2016
{
    remote_install='set -e; rm -rf ~/emjax; mkdir -p ~/emjax; tar -xzf ~/emjax.tar.gz -C ~/emjax;'
    # The images come with Python 3.10; uv brings another that needs no rights and no packages of the system.
    remote_install+=' python3 -m pip install --quiet --user uv'
    remote_install+=' || python3 -m pip install --quiet --user --break-system-packages uv;'
    remote_install+=' test -x ~/emjax-venv/bin/python || ~/.local/bin/uv venv --python 3.12 ~/emjax-venv;'
    remote_install+=' ~/.local/bin/uv pip install --quiet --python ~/emjax-venv/bin/python -e "$HOME/emjax[tpu]";'
    remote_install+=' ~/emjax-venv/bin/python -c "import emjax, jax, libtpu"; echo "installed on $(hostname)"'
    remote_alive='{ test -s pid && kill -0 "$(cat pid)" 2>/dev/null; }'
    remote_run="mkdir -p ~/emjax-run && cd ~/emjax-run || exit 1; if $remote_alive; then"
    remote_run+=' echo "a run is going on already on $(hostname)" >&2; exit 3; fi; rm -f status;'
    remote_run+=' PATH="$HOME/emjax-venv/bin:$PATH" nohup setsid bash -c '
    remote_run+="$(quote '"$@"; echo $? >status')"
    remote_run+=" emjax $(quote_all ${command[@]+"${command[@]}"})"
    remote_run+=' >>log 2>&1 </dev/null & echo $! >pid'
    # Its child is the command; the shell itself stays, and notes the status.
    remote_stop="cd ~/emjax-run 2>/dev/null || exit 0; if $remote_alive; then"
    remote_stop+=' pkill -TERM -P "$(cat pid)"; for i in $(seq 120); do'
    remote_stop+=" $remote_alive || break; sleep 1; done; fi;"
    remote_stop+=" if $remote_alive; then pkill -KILL -P \"\$(cat pid)\"; fi"
    remote_state='cd ~/emjax-run 2>/dev/null || { echo absent; exit 0; };'
    remote_state+=" if test -s status; then cat status; elif $remote_alive; then echo running; else echo absent; fi"
    remote_status="echo \"\$(hostname): \$($remote_state)\"; tail -n 1 ~/emjax-run/log 2>/dev/null || true"
}

ssh_to() {
    act gcloud compute tpus tpu-vm ssh "$name" "${where[@]}" --quiet "--worker=$1" "--command=$2"
}

describe() {
    act gcloud compute tpus queued-resources describe "$name" "${where[@]}" '--format=value(state.state)'
}

# Prints ABSENT where there is none, and UNKNOWN where gcloud could not tell.
state() {
    local said errors
    errors=$(mktemp)
    if said=$(describe 2>"$errors"); then
        echo "${said:-UNKNOWN}"
    elif grep -qi 'not.found' "$errors"; then
        echo ABSENT
    else
        cat "$errors" >&2
        echo UNKNOWN
    fi
    rm -f "$errors"
}

request() {
    local options=("--node-id=$name" "--accelerator-type=$type" "--runtime-version=$version")
    [[ -z $network ]] || options+=("--network=$network")
    ((spot == 0)) || options+=(--spot)
    act gcloud compute tpus queued-resources create "$name" "${where[@]}" --quiet "${options[@]}"
}

give_back() {
    act gcloud compute tpus queued-resources delete "$name" "${where[@]}" --quiet --force
}

await_active() {
    if ((dry_run)); then
        describe
        return
    fi
    local now last=''
    while true; do
        now=$(state)
        [[ $now == "$last" ]] || echo "tpu_pod.sh: $name is $now" >&2
        last=$now
        case $now in
        ACTIVE) return ;;
        FAILED | SUSPENDING | SUSPENDED | ABSENT) return 1 ;;
        esac
        sleep "$poll_s"
    done
}

install() {
    local archive="${TMPDIR:-/tmp}/emjax-$name.tar.gz"
    if ((dry_run == 0)) && [[ -n $(git -C "$here" status --porcelain --untracked-files=no) ]]; then
        echo "tpu_pod.sh: changes that are not committed are left behind" >&2
    fi
    act git -C "$here" archive --format=tar.gz "--output=$archive" HEAD
    act gcloud compute tpus tpu-vm scp "$archive" "$name:emjax.tar.gz" "${where[@]}" --quiet --worker=all
    ssh_to all "$remote_install"
}

start() {
    ssh_to all "$remote_stop"
    ssh_to all "$remote_run"
}

resume() {
    if ((dry_run)); then
        describe
        give_back
        request
        describe
        install
        start
        ssh_to 0 "$remote_state"
        return
    fi
    local crashes=0 ready=0 now run
    while true; do
        now=$(state)
        case $now in
        ACTIVE)
            # Unknown where the machine does not answer: it may be going.
            run=$(ssh_to 0 "$remote_state") || run=unknown
            case $run in
            running | unknown) ;;
            0 | 2) return "$run" ;;
            *)
                if [[ $run != absent && $run != 75 ]] && ((++crashes > max_crashes)); then
                    echo "tpu_pod.sh: failed $crashes times, last with status $run; see its log" >&2
                    return 1
                fi
                echo "tpu_pod.sh: the run is '$run'; starting it" >&2
                if { ((ready)) || install; } && start; then ready=1; fi
                ;;
            esac
            ;;
        ABSENT)
            ready=0 crashes=0
            request || true
            ;;
        FAILED | SUSPENDED)
            echo "tpu_pod.sh: $name is $now; asking for another" >&2
            ready=0
            give_back || true
            continue
            ;;
        esac
        sleep "$poll_s"
    done
}

case $subcommand in
create)
    request
    if ! await_active; then
        echo "tpu_pod.sh: $name did not become active; delete it, and ask for another type or zone" >&2
        exit 1
    fi
    ;;
install) install ;;
run) ssh_to all "$remote_run" ;;
tail) ssh_to "$worker" 'tail -n 100 -F ~/emjax-run/log' ;;
status)
    describe
    ssh_to all "$remote_status"
    ;;
stop) ssh_to all "$remote_stop" ;;
resume) resume ;;
delete) give_back ;;
esac
