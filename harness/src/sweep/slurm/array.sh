#!/bin/bash
# Makes one run of a sweep: that in line SLURM_ARRAY_TASK_ID + $1 (from 0) of the list. Written by `mkgc sweep --slurm`.
# Before the time limit Slurm sends SIGUSR1. The run then writes a checkpoint and ends with exit code 75, and this task goes
# back into the queue; there it goes on from the checkpoint.

# A signal may come before the run, which must then be stopped as soon as it is there.
run='' limit='' signal=''
trap 'signal=1; limit=1; [[ ! $run ]] || kill -USR1 "$run" 2> /dev/null' USR1
trap 'signal=1; [[ ! $run ]] || kill -TERM "$run" 2> /dev/null' TERM
cd -- {{folder}} || exit
IFS=$'\t' read -r number hash name < <(sed -n "$((SLURM_ARRAY_TASK_ID + $1 + 1))p" {{list}})
log={{logs}}/$name.log
mkdir -p -- "${log%/*}"
export RAYON_NUM_THREADS=${RAYON_NUM_THREADS:-$SLURM_CPUS_ON_NODE}

echo "== run $number $hash $name: Slurm job $SLURM_JOB_ID on $(uname -n)" >> "$log"
{{mkgc}} --run "$number" --expect "$hash" >> "$log" 2>&1 &
run=$!
[[ ! $signal ]] || kill -TERM "$run" 2> /dev/null
# A signal ends `wait` before the run ends, so wait again after each.
signal=1
while [[ $signal ]]; do
  signal=
  wait "$run"
  code=$?
done

# A run that had not yet begun to listen ends by the signal itself: SIGUSR1 is 10, SIGTERM 15.
if [[ $limit && ( $code == 75 || $code == 138 || $code == 143 ) ]]; then
  for pause in 0 5 15 30; do
    sleep "$pause"
    scontrol requeue "$SLURM_JOB_ID" && break
  done
fi
# What Slurm had to say of a run that went well is of no use to anybody.
[[ $code != 0 ]] || rm -f -- {{notes}}/"${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID.out"
exit "$code"
