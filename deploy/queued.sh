#!/usr/bin/env bash
# A run on a TPU slice that Google Cloud queues. The slice is made again after each preemption, and deleted when the run
# is finished or has failed:
#
#   PROJECT=... ZONE=... TPU_TYPE=v6e-16 RUNTIME=v2-alpha-tpuv6e IMAGE=... SHARE=10.0.0.2:/share \
#     deploy/queued.sh NAME FLAGS
#
# FLAGS are those of `grpo train`, but for --workdir: the run is in the NFS directory SHARE, as runs/NAME. Optional:
# SPOT=1 (a slice that may be preempted), POLL (60: seconds between looks), MOUNT (/mnt/grpo: SHARE, on the slice).
#
# This script only watches. If it ends, the run goes on, and the same command watches again.
set -euo pipefail

name=${1:?the name of the slice and of the run}
shift
mount=${MOUNT:-/mnt/grpo}
run=$mount/runs/$name
where=(--project="$PROJECT" --zone="$ZONE")
tpus=(gcloud compute tpus)

printf -v train ' %q' docker run --init --rm --privileged --network=host --volume="$mount:$mount" \
  --env=XDG_CACHE_HOME="$mount/cache" "$IMAGE" train "$@" --workdir="$run" --distributed --stopped-code=42

# What each host of the slice runs once. systemd starts the run again, also after a reboot, unless it has ended with 0,
# or with 1 or 2: an error that would come again.
install=$(cat << END
set -e
sudo mkdir -p $mount
sudo tee /usr/local/bin/grpo-run > /dev/null << 'RUN'
#!/usr/bin/env bash
set -e
mountpoint --quiet $mount || mount -t nfs $SHARE $mount
gcloud auth configure-docker --quiet ${IMAGE%%/*}
exec$train
RUN
sudo chmod +x /usr/local/bin/grpo-run
sudo tee /etc/systemd/system/grpo.service > /dev/null << 'UNIT'
[Unit]
Wants=network-online.target
After=network-online.target docker.service
StartLimitIntervalSec=0
[Service]
Environment=HOME=/root
ExecStart=/usr/local/bin/grpo-run
Restart=on-failure
RestartSec=15
RestartPreventExitStatus=1 2
TimeoutStopSec=120
[Install]
WantedBy=multi-user.target
UNIT
sudo systemctl daemon-reload
sudo systemctl enable --now grpo
END
)

on() { # run a command on some hosts of the slice
  "${tpus[@]}" tpu-vm ssh "$name" --quiet --worker="$1" --command="$2" "${where[@]}"
}

delete() {
  "${tpus[@]}" queued-resources delete "$name" --force --quiet "${where[@]}"
}

state() { # of the slice; nothing if there is none
  "${tpus[@]}" queued-resources list --filter="name~/$name\$" --format="value(state.state)" "${where[@]}"
}

look() { # where the run is: finished, or the state of its service
  on 0 "if [ -f $run/summary.json ]; then echo finished; else systemctl show grpo --property=ActiveState --value; fi"
}

pause=0
while sleep "$pause"; do
  pause=${POLL:-60}
  # What fails because of the network, or of a host that is starting, is tried again.
  state=$(state) || continue
  echo "$(date +%T) ${state:-no slice}"
  case $state in
    "")
      "${tpus[@]}" queued-resources create "$name" --node-id="$name" --accelerator-type="$TPU_TYPE" \
        --runtime-version="$RUNTIME" ${SPOT:+--spot} "${where[@]}"
      ;;
    SUSPENDED | FAILED)
      delete || continue
      ;;
    ACTIVE)
      service=$(look) || continue
      echo "$(date +%T) the run is $service"
      case $service in
        finished)
          "${tpus[@]}" tpu-vm scp "$name:$run/report.html" "$name.html" --worker=0 "${where[@]}"
          delete
          exit 0
          ;;
        failed)
          on 0 "sudo journalctl --unit=grpo --lines=50 --no-pager --output=cat"
          delete
          exit 1
          ;;
        inactive)
          on all "$install" || continue
          ;;
      esac
      ;;
  esac
done
