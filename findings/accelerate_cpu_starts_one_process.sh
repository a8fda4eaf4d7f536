#!/bin/sh
# `accelerate launch --cpu --num_processes 2` starts one process, without a word.
#
# Seen with accelerate 1.15.0. On a CPU the launcher runs the script by itself: RANK and WORLD_SIZE
# are not set, so that the state says one process, whatever --num_processes. No warning, and no
# error; a run that is thought to be shared takes twice the time. With --multi_gpu, or by torchrun,
# there are two. Who wants several processes on a CPU starts them by torchrun: accelerate's state
# joins them.
#
# Needs python3 with venv, and a network; no GPU. Exit 0: still so; 1: it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet accelerate==1.15.0 \
    --extra-index-url https://download.pytorch.org/whl/cpu
cat > "$folder/count.py" <<'PYTHON'
from accelerate import PartialState

state = PartialState(cpu=True)
print(f"process {state.process_index} of {state.num_processes}", flush=True)
PYTHON
cd "$folder"
"$folder/venv/bin/accelerate" launch --cpu --num_processes 2 count.py > launched.txt 2> launched.err
"$folder/venv/bin/torchrun" --nproc_per_node 2 count.py > torchrun.txt 2> torchrun.err
echo "accelerate launch --cpu --num_processes 2:" "$(cat launched.txt)"
echo "torchrun --nproc_per_node 2:" "$(cat torchrun.txt)"
if grep -qi "num_processes.*ignored\|one process" launched.err; then exit 1; fi
[ "$(grep -c "of 1" launched.txt)" = 1 ] && [ "$(grep -c "of 2" torchrun.txt)" = 2 ]
