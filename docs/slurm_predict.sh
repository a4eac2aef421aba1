#!/bin/bash
# Predict thousands of studies on a SLURM cluster, each task of an array a part of them. Submit it
# again to go on: what is done and whole is not done again.
#
#     sbatch docs/slurm_predict.sh scans/ runs/liver/ensemble results
#     sbatch --array=1-64 docs/slurm_predict.sh scans/ hippocampus results --box mni:left-hippocampus
#
# Scans, model and results must lie where every node sees them. All tasks write into one folder; the
# last one to end completes results.csv and run.json. Tasks are numbered from 1.

#SBATCH --job-name=medvision-predict
#SBATCH --array=1-16
#SBATCH --ntasks=1
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=32G
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --output=%x-%A-%a.log

# A task that is ended, by its time or by its node, leaves nothing half-written; requeued, it goes on.
# Where a task exits with 1, some of its studies failed: their rows say why.

set -euo pipefail

scans=$1 model=$2 out=$3
shift 3

srun --cpus-per-task "$SLURM_CPUS_PER_TASK" python -m medvision predict "$scans" \
    --model "$model" \
    --out "$out" \
    --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" "$@"
