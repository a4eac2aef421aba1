#!/bin/bash
# Train on several nodes of a SLURM cluster. Submit it again to go on: what was saved is found.
#
#     sbatch docs/slurm_train.sh cases.csv plan.json runs/liver
#     sbatch --nodes=1 --gpus-per-node=2 docs/slurm_train.sh cases.csv plan.json runs/cv --folds 5
#
# The table, its scans and the run's folder must lie where every node sees them. The batch size of
# the plan must divide by the number of GPUs, times accumulate.

#SBATCH --job-name=medvision
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --mem=128G
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@180
#SBATCH --requeue
#SBATCH --output=%x-%j.log

# One task a node: torchrun starts the processes there. TERM comes 180 s before the time is over, and
# training saves at the end of its step.

set -euo pipefail

cases=$1 plan=$2 out=$3
shift 3

host=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

srun --cpus-per-task "$SLURM_CPUS_PER_TASK" torchrun \
    --nnodes "$SLURM_NNODES" \
    --nproc-per-node "$SLURM_GPUS_ON_NODE" \
    --rdzv-id "$SLURM_JOB_ID" \
    --rdzv-backend c10d \
    --rdzv-endpoint "$host:29500" \
    -m medvision train "$cases" --plan "$plan" --out "$out" --resume "$@"
