#!/usr/bin/env bash
# A run on TPU slices of a GKE cluster that xpk has made. Its JobSet is restarted until the run is finished:
#
#   PROJECT=... ZONE=... CLUSTER=... TPU_TYPE=v6e-16 IMAGE=... STORAGE=... \
#     deploy/xpk.sh NAME --config=two_grpo --workdir=/data/NAME
#
# The flags after the name are those of `grpo train`, with a workdir in the storage, which all hosts mount. Optional:
# SLICES (1), GRACE (120: seconds to save in when a node is taken away) and RESTARTS (50).
set -euo pipefail

name=${1:?the name of the workload}
shift
printf -v flags ' %q' "$@" --distributed --stopped-code=42

# exec: the shell that xpk starts passes SIGTERM to its child only. xpk restarts on exit code 42, with which a stopped
# run ends, and on signals; 124 means that a process did not come in time.
exec xpk workload create \
  --workload="$name" \
  --project="$PROJECT" \
  --zone="$ZONE" \
  --cluster="$CLUSTER" \
  --tpu-type="$TPU_TYPE" \
  --num-slices="${SLICES:-1}" \
  --docker-image="$IMAGE" \
  --storage="$STORAGE" \
  --max-restarts="${RESTARTS:-50}" \
  --restart-on-exit-codes=124 \
  --termination-grace-period-seconds="${GRACE:-120}" \
  --command="exec grpo train$flags"
