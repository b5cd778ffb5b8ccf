#!/usr/bin/env bash
# Runs a training command and says by its exit status how it ended:
#
#   0      the run is finished
#   75     it was stopped and has saved its state: start it again
#   other  it failed, with the command's own status
#
# python ends with 0 in the first two cases, and what restarts pods or units
# must tell them apart. A SIGTERM is passed on to the command.
#
#   bash launch/run.sh python -m xlmr_jax.train --config=... --workdir=DIR
#   bash launch/run.sh --finished DIR   # only asks: 0 yes, 1 no
set -uo pipefail

STOPPED=75 # EX_TEMPFAIL of sysexits.h

usage() { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; }

# What the latest whole step of a workdir says of itself. A step in the making
# has a name that is not a number.
finished() {
  local latest
  latest=$(find "$1/checkpoints" -mindepth 1 -maxdepth 1 -type d \
    -name '[0-9]*' ! -name '*[!0-9]*' -printf '%f\n' 2>/dev/null |
    sort -n | tail -n 1)
  [[ -n $latest ]] &&
    grep -Eq '"finished": *true' "$1/checkpoints/$latest/meta/metadata"
}

case ${1-} in
  '' | -h | --help) usage; exit $(($# == 0 ? 2 : 0)) ;;
  --finished) finished "${2:?a workdir is needed}"; exit ;;
esac

workdir=
previous=
for word in "$@"; do
  case $word in --workdir=*) workdir=${word#*=} ;; esac
  [[ $previous == --workdir ]] && workdir=$word
  previous=$word
done
if [[ -z $workdir ]]; then
  echo 'error: the command has no --workdir=DIR' >&2
  exit 2
fi

"$@" &
child=$!
asked=
woken=
# A command in the background ignores SIGINT, so both are passed on as SIGTERM.
trap 'asked=1; woken=1; kill -TERM "$child" 2>/dev/null' TERM INT
while :; do
  woken=
  wait "$child"
  status=$?
  [[ -n $woken ]] || break # a trap also ends `wait`
done

if ((status == 0)) && finished "$workdir"; then
  exit 0
fi
# 143: it was stopped before it had anything to save.
if ((status == 0)) || { [[ -n $asked ]] && ((status == 143)); }; then
  echo "stopped: the same command goes on from $workdir" >&2
  exit "$STOPPED"
fi
exit "$status"
