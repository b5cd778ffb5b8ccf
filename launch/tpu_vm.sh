#!/usr/bin/env bash
# A run on Cloud TPU VMs, one slice or several, from your own machine.
#
#   launch/tpu_vm.sh run FLAGS...     all of it, until the run is finished:
#                                     asks for the TPUs, waits for them,
#                                     installs, starts, and watches; what was
#                                     preempted is asked for and started again
#   launch/tpu_vm.sh create           only asks for the TPUs
#   launch/tpu_vm.sh install          only copies the last commit to all workers
#                                     and installs it
#   launch/tpu_vm.sh start FLAGS...   only starts the run on all workers
#   launch/tpu_vm.sh status           the TPUs' state, and each worker's
#   launch/tpu_vm.sh logs             the last lines of each slice's worker 0
#   launch/tpu_vm.sh stop             SIGTERM everywhere: saves and ends (end
#                                     `run` first, or it starts it again)
#   launch/tpu_vm.sh delete           gives the TPUs back
#
# FLAGS are those of xlmr_jax.train, --workdir=DIR among them:
#
#   PROJECT=p ZONE=us-east5-b SOURCE=10.0.0.2:/share launch/tpu_vm.sh run \
#       --config=configs/pretrain.py:model=base --config.corpus=/shared/corpus \
#       --config.tokenizer=/shared/tokenizer --workdir=/shared/runs/base
#
# On the workers the run is a systemd unit: it outlives ssh, gets SIGTERM when
# the machine shuts down, and starts again 30 s after it ended unfinished. What
# to set, here or in the environment:
set -euo pipefail

PROJECT=${PROJECT:-}
ZONE=${ZONE:-}
NAME=${NAME:-xlmr}                    # of the queued resource and its nodes
TPU_TYPE=${TPU_TYPE:-v6e-16}          # of one slice; v4 and v5p count 2 a chip
RUNTIME=${RUNTIME:-v2-alpha-tpuv6e}   # v5e: v2-alpha-tpuv5-lite, v5p:
                                      # v2-alpha-tpuv5, v4: tpu-ubuntu2204-base
SLICES=${SLICES:-1}
SPOT=${SPOT:-1}                       # 0: not preemptible
SHARED=${SHARED:-/shared}             # the folder that all workers see, ...
SOURCE=${SOURCE:-}                    # and what to mount there: SERVER:/SHARE
                                      # (NFS) or gs://BUCKET; empty: nothing
PYTHON=${PYTHON:-3.12}                # fetched by uv; the images' own is older
POLL=${POLL:-60}                      # seconds between two looks

UNIT=xlmr-train

usage() {
  sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"
  sed -n '/^PROJECT=/,/^POLL=/p' "$0"
}

say() { echo "$(date '+%F %T') $*" >&2; }

fail() { echo "error: $*" >&2; exit 1; }

# ── On a worker: these functions are sent there ──

worker_install() { # SHARED SOURCE PYTHON
  set -euo pipefail
  if [[ -n $2 ]] && ! mountpoint -q "$1"; then
    sudo mkdir -p "$1"
    if [[ $2 == gs://* ]]; then
      if ! command -v gcsfuse >/dev/null; then
        local repo keys=/usr/share/keyrings/cloud.google.asc
        repo=gcsfuse-$(lsb_release -cs)
        curl -fsS https://packages.cloud.google.com/apt/doc/apt-key.gpg |
          sudo tee "$keys" >/dev/null
        echo "deb [signed-by=$keys] https://packages.cloud.google.com/apt \
$repo main" | sudo tee /etc/apt/sources.list.d/gcsfuse.list >/dev/null
        sudo apt-get -q update
        sudo apt-get -qy install gcsfuse
      fi
      sudo chown "$USER" "$1"
      # Without the caches, or a worker would not see what another wrote.
      gcsfuse --implicit-dirs --metadata-cache-ttl-secs=0 "${2#gs://}" "$1"
    else
      command -v mount.nfs >/dev/null || sudo apt-get -qy install nfs-common
      sudo mount -t nfs -o hard "$2" "$1"
    fi
  fi
  mkdir -p ~/xlmr_jax
  tar -xzf ~/xlmr_jax.tar.gz -C ~/xlmr_jax
  cd ~/xlmr_jax
  python3 -m pip install --quiet --user uv
  [[ -d .venv ]] || ~/.local/bin/uv venv --quiet --python "$3" .venv
  ~/.local/bin/uv pip install --quiet -e '.[tpu]'
}

worker_start() { # UNIT FLAGS...
  local unit=$1
  shift
  sudo systemctl stop "$unit" 2>/dev/null || true
  sudo systemctl reset-failed "$unit" 2>/dev/null || true
  # 75 is run.py's "stopped and saved": no failure, but start again. Ten starts
  # in an hour: something is wrong, it stays down. KillMode=mixed: SIGTERM goes
  # to run.py, which passes it on.
  sudo systemd-run --unit="$unit" --uid="$(id -u)" --gid="$(id -g)" \
    --working-directory="$HOME/xlmr_jax" --setenv=HOME="$HOME" \
    --property=Restart=on-failure --property=RestartSec=30 \
    --property=SuccessExitStatus=75 --property=RestartForceExitStatus=75 \
    --property=StartLimitIntervalSec=3600 --property=StartLimitBurst=10 \
    --property=KillMode=mixed --property=TimeoutStopSec=600 \
    --property=LimitMEMLOCK=infinity --property=LimitNOFILE=1048576 \
    .venv/bin/python launch/run.py .venv/bin/python -m xlmr_jax.train "$@"
}

worker_state() { # UNIT WORKDIR
  if [[ -n $2 ]] && python3 ~/xlmr_jax/launch/run.py --finished "$2" 2>/dev/null
  then echo 'run: finished'; else echo "run: $(systemctl is-active "$1")"; fi
}

# ── From here ──

tpu() {
  gcloud compute tpus "$@" --project="$PROJECT" --zone="$ZONE" --quiet
}

nodes() {
  if ((SLICES == 1)); then echo "$NAME"; return; fi
  for ((i = 0; i < SLICES; i++)); do echo "$NAME-$i"; done
}

# A function of a worker with its arguments, as one line of shell.
call() { declare -f "$1"; printf '%q ' "$@"; }

everywhere() { # COMMAND: on all workers of all slices at once
  local node pids=() bad=0
  for node in $(nodes); do
    tpu tpu-vm ssh "$node" --worker=all --command="$1" &
    pids+=("$!")
  done
  for pid in "${pids[@]}"; do wait "$pid" || bad=1; done
  return "$bad"
}

state() {
  tpu queued-resources describe "$NAME" --format='value(state.state)' \
    2>/dev/null || echo NONE
}

create() {
  local what=(--accelerator-type="$TPU_TYPE" --runtime-version="$RUNTIME")
  if ((SLICES == 1)); then
    what+=(--node-id="$NAME")
  else # these know of each other: MEGASCALE_* is in their metadata
    what+=(--node-count="$SLICES" --node-prefix="$NAME")
  fi
  if ((SPOT)); then what+=(--spot); fi
  say "asking for $SLICES x $TPU_TYPE in $ZONE"
  tpu queued-resources create "$NAME" "${what[@]}"
}

delete() {
  say "deleting $NAME"
  tpu queued-resources delete "$NAME" --force
}

install() {
  local archive node
  archive=$(mktemp --suffix=.tar.gz)
  git -C "$(dirname "$0")/.." archive --format=tar.gz -o "$archive" HEAD ||
    fail 'the repository has no commit to copy'
  say "installing on all workers"
  for node in $(nodes); do
    tpu tpu-vm scp "$archive" "$node:xlmr_jax.tar.gz" --worker=all
  done
  rm -f "$archive"
  everywhere "$(call worker_install "$SHARED" "$SOURCE" "$PYTHON")"
}

start() {
  say "starting on all workers"
  everywhere "$(call worker_start "$UNIT" "${flags[@]}")"
}

run() {
  local now seen tries=0
  while :; do
    now=$(state)
    case $now in
      NONE) create ;;
      SUSPENDED) delete ;; # preempted: the TPUs are gone, ask again
      FAILED)
        tpu queued-resources describe "$NAME" >&2
        fail "the request for TPUs failed: see above, then: $0 delete" ;;
      ACTIVE)
        if ! seen=$(everywhere "$(call worker_state "$UNIT" "$workdir")"); then
          say 'a worker does not answer'
        elif [[ $seen == *'run: finished'* ]]; then
          say "finished; the TPUs are still yours: $0 delete"
          return
        elif [[ $seen == *'run: failed'* ]]; then
          fail "the run failed ten times in an hour; see: $0 logs"
        elif [[ $seen == *'run: inactive'* ]]; then
          # The first time, or a worker is new or was booted again.
          if install && start; then
            tries=0
          elif ((++tries >= 5)); then
            fail 'it cannot be installed or started on all workers: see above'
          else
            say 'a worker failed; trying again'
          fi
        fi ;;
      *) say "$NAME is $now" ;;
    esac
    sleep "$POLL"
  done
}

verb=${1:-}
case $verb in
  run | create | install | start | status | logs | stop | delete) shift ;;
  -h | --help) usage; exit ;;
  '') usage >&2; exit 2 ;;
  *) fail "$verb is none of run create install start status logs stop delete" ;;
esac
[[ -n $PROJECT && -n $ZONE ]] || fail 'set PROJECT and ZONE'
command -v gcloud >/dev/null || fail 'gcloud is not installed here'

flags=("$@")
workdir=
for word in "$@"; do
  case $word in --workdir=*) workdir=${word#*=} ;; esac
done
if [[ $verb == run || $verb == start ]]; then
  [[ $workdir == /* ]] ||
    fail "give --workdir=DIR, a folder under $SHARED that all workers see"
  if ((SLICES > 1)); then flags+=("--config.slices=$SLICES"); fi
fi

case $verb in
  status) state; everywhere "$(call worker_state "$UNIT" "$workdir")" ;;
  logs)
    for node in $(nodes); do
      tpu tpu-vm ssh "$node" --worker=0 \
        --command="journalctl -u $UNIT -n 50 --no-pager"
    done ;;
  stop) everywhere "sudo systemctl stop $UNIT" ;;
  *) "$verb" ;;
esac
