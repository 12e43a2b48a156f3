#!/usr/bin/env bash
# Every command of `nc run diffusion-bb` as a user types it, with the usual mistakes.
#
#   bench/diffusion_programs.sh SHARED [WORK] > bench/results/diffusion-programs.txt
#
# SHARED holds `data` (official files) and `golden/diffusion-bb` (a trained network of 16x16 digits);
# WORK is an empty folder (a temporary one if not given). `nc` is the one that PATH finds, with
# nc-diffusion-bb, the extras `plots` and `classical`, and tensorboard. Images are few and chains
# short. Rows that end in another exit code than the expected one are counted.
set -uo pipefail

fill=$(cd "$(dirname "${BASH_SOURCE[0]}")/../packages/diffusion-bb/tests" && pwd)
source "$(dirname "${BASH_SOURCE[0]}")/rows.sh"
start_rows "$1" "${2:-$(mktemp -d)}"
ln -sfn "$shared/data" files && ln -sfn "$shared/golden/diffusion-bb" golden

d="nc run diffusion-bb"
one="--threads 1"

# killed_at GLOB COMMAND: run a command, and kill it once it has written such a file.
killed_at() {
    local glob=$1 pid
    shift
    "$@" &
    pid=$!
    while kill -0 $pid 2> /dev/null && ! compgen -G "$glob" > /dev/null; do sleep 0.2; done
    kill -s KILL $pid 2> /dev/null
    wait $pid 2> /dev/null
}

# peak COMMAND: run a command, and say how much memory it took.
peak() {
    python - "$@" <<'PYTHON'
import resource, subprocess, sys

status = subprocess.run(sys.argv[1:]).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(f"peak memory {used.ru_maxrss / 1024:,.0f} MiB, {used.ru_utime + used.ru_stime:,.0f} s of CPU")
sys.exit(status)
PYTHON
}

same_steps() { # RUN RUN: the same metrics, step by step
    cmp "$1/metrics.jsonl" "$2/metrics.jsonl"
}

same_model() { # MODEL MODEL: the same weights and settings, whatever the names
    cmp <(nc info "$1" --json | grep '"id"') <(nc info "$2" --json | grep '"id"')
}

echo "# Help"
for command in "" compress decompress demo evaluate export-checkpoint import-checkpoint original plot "plot rates" "plot terms" prepare sample train vlb; do
    row 0 "$d $command --help > help.txt && head -1 help.txt"
done
row 0 "nc list | grep diffusion"

echo; echo "# Data"
row 0 $d prepare cifar10 --from files/cifar10-format-standin -o cifar10
row 0 $d prepare cifar10 --from files/cifar10-format-standin -o cifar10
row 0 $d prepare imagenet64 --from files/imagenet64-sample -o imagenet64
row 0 $d prepare mnist16 --from files/mnist -o mnist16
row 0 $d prepare mnist32 --from files/mnist -o mnist32
row 0 nc data prepare mnist --from files/mnist
row 2 $d prepare imagenet64 -o none
row 2 $d prepare cifar100
row 4 $d prepare mnist16 --from files/cifar10-subset -o none
row 4 $d prepare imagenet64 --from files/mnist -o none
python - <<'PYTHON'
import numpy as np

digits = np.load("mnist16/test.npy")
rng = np.random.default_rng(0)
np.save("x.npy", digits[:8])
np.save("more.npy", digits[:256])
np.save("float.npy", digits[:4].astype("f4"))
np.save("table.npy", digits[0, :, :2])
np.save("rgb.npy", rng.integers(0, 256, (2, 16, 16, 3), "u1"))
np.save("large.npy", digits[:2].repeat(2, 1).repeat(3, 2)[:, 1:, 2:])
PYTHON

echo; echo "# Checkpoints"
weights=golden/trained_m16.safetensors
row 0 $d import-checkpoint $weights --config golden/trained_m16.json --dataset npy:mnist16/train.npy -o m.safetensors
row 0 $d import-checkpoint $weights -o recognised.safetensors --json
row 4 $d import-checkpoint $weights --config golden/trained_m16.json -o m.safetensors
row 4 $d import-checkpoint golden/trained_m16.json -o none.safetensors
row 4 $d import-checkpoint files/broken/malicious_pickle.pt -o none.safetensors
row 4 $d import-checkpoint m.safetensors -o none.safetensors
row 2 $d import-checkpoint $weights --config golden/unet_io.json -o none.safetensors
row 2 $d import-checkpoint $weights --config golden/unet_io.json --image-size 16 -o none.safetensors
row 4 $d import-checkpoint $weights --recipe cifar10-vlb -o none.safetensors
row 2 $d import-checkpoint $weights --recipe mnist16-hybrid --set model.head=2 -o none.safetensors
row 2 $d import-checkpoint $weights --recipe mnist16-hybrid --config golden/trained_m16.json -o none.safetensors
row 0 $d export-checkpoint m.safetensors -o ema_0.9999_001500.pt
row 0 $d export-checkpoint m.safetensors -o exported.safetensors
row 2 $d export-checkpoint m.safetensors -o exported.bin
row 3 $d export-checkpoint no-such-model -o none.pt
row 4 $d export-checkpoint ema_0.9999_001500.pt -o none.pt
row 0 $d import-checkpoint ema_0.9999_001500.pt --recipe mnist16-hybrid --dataset npy:mnist16/train.npy -o again.safetensors
row 0 same_model m.safetensors again.safetensors
row 0 "nc info m.safetensors > info.txt && head -8 info.txt"

echo; echo "# Training"
t="$d train --recipe tiny $one"
row 0 $t
row 4 $t
row 0 $t --resume
row 2 $t --resume --set optimizer.learning_rate=3e-3
row 0 $t --force --json
row 0 $t --set training.duration=5 --set optimizer.microbatch=4 --set optimizer.sampler=uniform --set diffusion.use_kl=true --set diffusion.noise_schedule=linear --set optimizer.half_precision=bfloat16 --set optimizer.ema_rates=[0.9,0.99] --set model.dropout=0.1 --set model.gradient_checkpointing=true --logger tensorboard -o runs/options
row 0 $t --set training.duration=5 --set diffusion.learn_sigma=false --set diffusion.predict_xstart=true --set optimizer.half_precision=float16 --set optimizer.weight_decay=0.05 --set optimizer.anneal_steps=10 -o runs/fixed
row 0 $t --set training.duration=5 --set model.channels=3 --set model.classes=10 --set data.train=folder:cifar10/train_32x32 --set data.test=folder:cifar10/valid_32x32 -o runs/classes
row 0 $d train --recipe tiny --devices 2 $one -o runs/two
row 0 torchrun --nproc-per-node 2 -m nc_cli ${t#nc } -o runs/torchrun
row 0 same_steps runs/two runs/torchrun
row 0 $t --set training.duration=150 -o runs/undisturbed
row 137 killed_at "'runs/killed/checkpoints/*[4-9]0.safetensors'" $t --set training.duration=150 -o runs/killed
row 0 $t --set training.duration=150 -o runs/killed --resume
row 0 same_steps runs/undisturbed runs/killed
row 0 same_model runs/undisturbed runs/killed
row 2 $d train --recipe tyny
row 2 $t --set optimizer.learning_rat=1e-3 -o none
row 2 $t --set optimizer.learning_rate=fast -o none
row 2 $t --set model.image_size=10 -o none
row 4 $t --set data.train=npy:x.npy --set data.test=npy:float.npy -o none
row 4 $t --set data.train=npy:x.npy --set data.test=npy:rgb.npy -o none
row 2 $d train --recipe tiny --device cuda -o none

echo; echo "# Bounds"
v="$d vlb --model m.safetensors --dataset npy:more.npy $one"
row 0 $v --limit 16 --respacing vlb50 -o runs/vlb50
row 0 $v --limit 16 --steps 10 --json -o runs/vlb10
row 0 $v --limit 16 --steps 10 --resume -o runs/vlb10
row 2 $v --limit 17 --steps 10 --resume -o runs/vlb10
row 4 $v --limit 16 --steps 10 -o runs/vlb10
row 0 $v --limit 4 --steps 10 --draws 2 --batch-size 3 --no-clip --seed 1
row 0 $v --limit 4 --respacing 4,3,2 -o runs/sections
row 0 $d vlb --model runs/classes --dataset folder:cifar10/valid_32x32 --limit 8 --steps 5 $one -o runs/vlb-classes
row 0 $v --limit 8 --steps 10 --devices 2 -o runs/vlb-two
for wrong in vlb10 ddim333 10,x 1001; do row 2 $v --respacing $wrong -o none; done
row 2 $v --respacing vlb50 --steps 10 -o none
for wrong in float table rgb none; do row 4 $d vlb --model m.safetensors --dataset npy:$wrong.npy --steps 10 $one -o none; done
row 3 $d vlb --model no-such-model --dataset npy:x.npy -o none
row 0 "$v --respacing 150 --json -o runs/bound > bound.json"
row 137 killed_at "'runs/bound-killed/checkpoints/*'" $v --respacing 150 -o runs/bound-killed
row 0 "$v --respacing 150 --json -o runs/bound-killed --resume > bound-killed.json"
row 0 cmp bound.json bound-killed.json
row 0 cmp runs/bound/results/vb-terms.csv runs/bound-killed/results/vb-terms.csv

echo; echo "# Samples"
row 0 $d sample --model m.safetensors -n 4 --respacing vlb50 --columns 2 -o samples.png
row 0 $d sample --model m.safetensors -n 4 --steps 10 --eta 0 --batch-size 3 -o ddim.png
row 0 $d sample --model runs/classes -n 2 --class 3 --steps 5 -o class.png
row 2 $d sample --model runs/classes -n 2 --steps 5 -o none.png
row 2 $d sample --model m.safetensors -n 2 --class 3 -o none.png
row 4 $d sample --model m.safetensors -n 4 --steps 10 -o ddim.png

echo; echo "# Files"
c="$d compress --model m.safetensors $one"
row 0 $c --dataset npy:x.npy --respacing vlb50 -o F.ncz --json
row 0 $c --dataset npy:x.npy --order bb-ans --steps 10 -o bb-ans.ncz
row 0 $c --dataset npy:x.npy --order bb-ans --steps 10 --lead-in none -o bb-ans-none.ncz --json
row 0 $c --dataset npy:x.npy --steps 10 --lead-in none --clip off --bins-per-deviation 4 -o none.ncz
row 0 $c --dataset npy:x.npy --steps 10 --batch-size 1 -o one.ncz
row 0 nc compress --model m.safetensors --dataset npy:x.npy --coding respacing=10 --coding batch-size=1 $one -o coding.ncz
row 0 cmp one.ncz coding.ncz
row 0 $c --dataset npy:large.npy --steps 10 -o large.ncz
row 0 $d compress --model runs/tiny --dataset npy:x.npy --steps 4 -o tiny.ncz
row 0 $d compress --dataset mnist:test --limit 4 --steps 10 $one -o shipped.ncz
row 0 $d decompress shipped.ncz $one -o restored-shipped
row 0 nc info F.ncz
row 0 nc info bb-ans-none.ncz --json
for file in F bb-ans bb-ans-none none one; do
    row 0 $d decompress $file.ncz --model m.safetensors -o restored-$file $one
    row 0 cmp x.npy restored-$file/npy-x-npy.npy
done
row 0 nc decompress large.ncz --model m.safetensors -o restored-large --threads 2
row 0 cmp large.npy restored-large/npy-large-npy.npy
row 0 nc decompress F.ncz --model m.safetensors --threads 2 --item 3 -o restored-item
row 4 nc decompress F.ncz --model m.safetensors -o restored-F
row 0 nc decompress F.ncz --model recognised.safetensors -o restored-recognised
row 0 cmp x.npy restored-recognised/npy-x-npy.npy
row 5 nc decompress F.ncz --model runs/tiny -o wrong
row 5 "head -c 900 F.ncz > cut.ncz && nc decompress cut.ncz --model m.safetensors -o wrong"
row 5 "python -c 'import sys; b = bytearray(open(\"F.ncz\", \"rb\").read()); b[-200] ^= 1; open(\"damaged.ncz\", \"wb\").write(b)'; nc decompress damaged.ncz --model m.safetensors -o wrong"
for wrong in "--steps 0" "--respacing vlb10" "--batch-size 0" "--lead-in gzip" "--clip maybe" "--bins-per-deviation few" "--steps 10 --respacing vlb50" "--coding step=10" "--order up"; do
    row 2 $c --dataset npy:x.npy $wrong -o wrong.ncz
done
row 4 $c --dataset npy:rgb.npy --steps 10 -o wrong.ncz
row 4 $c --dataset npy:float.npy --steps 10 -o wrong.ncz
row 4 $d compress --model ema_0.9999_001500.pt --dataset npy:x.npy -o wrong.ncz
row 4 $d compress --model runs/classes --dataset npy:rgb.npy --steps 4 -o wrong.ncz
row 4 $d compress --model runs/tiny/checkpoints/step-000000025.safetensors --dataset npy:x.npy -o wrong.ncz
row 0 nc compare --model m.safetensors --dataset npy:x.npy --codec png --codec webp
row 0 nc compare F.ncz bb-ans-none.ncz

echo; echo "# Files, interrupted"
i="$c --dataset npy:more.npy --steps 50 --lead-in none --batch-size 2 --no-verify"
row 0 peak $i -o undisturbed.ncz
row 137 killed_at "'.killed.ncz.journal/*'" $i -o killed.ncz
row 0 $i -o killed.ncz --resume
row 0 cmp undisturbed.ncz killed.ncz
i="$c --dataset npy:more.npy --limit 128 --steps 20 --lead-in none --no-verify"
row 0 $i -o whole.ncz
row 130 timeout --preserve-status -s INT 8 $i -o stopped.ncz
row 2 $i --order bb-ans -o stopped.ncz --resume
row 0 $i -o stopped.ncz --resume
row 0 cmp whole.ncz stopped.ncz
u="$d decompress whole.ncz --model m.safetensors $one"
row 130 timeout --preserve-status -s INT 8 $u -o stopped
row 0 $u -o stopped --resume
row 0 $u -o whole
row 0 cmp whole/npy-more-npy.npy stopped/npy-more-npy.npy

echo; echo "# Rates"
e="$d evaluate --model m.safetensors --dataset npy:more.npy"
row 0 $e --limit 8 --respacing vlb50 --steps 10 --lead-in none --lead-in predictive -o runs/rates
row 0 $e --limit 4 --steps 10 --order bit-swap --batch-size 1 --batch-size 4 --coding clip=off --json
row 4 $e --limit 8 --steps 10 -o runs/rates
row 2 $e --limit 8 --respacing vlb10 -o none
row 2 $e --limit 8 --steps 10 --coding steps=5
row 4 $e --dataset npy:rgb.npy --steps 10
row 0 $d demo --model m.safetensors --limit 4 --steps 10
row 0 $d demo --model m.safetensors --dataset npy:x.npy --limit 4 --steps 10 --json
row 4 $d demo --model runs/classes --limit 2 --steps 5

echo; echo "# The original's codec"
o="$d original --model m.safetensors --dataset npy:more.npy --respacing vlb50 --batch-size 16"
row 0 $o --limit 32 --track $one -o runs/original
row 0 $o --limit 32 --track $one --resume -o runs/original
row 4 $o --limit 32 --track $one -o runs/original
row 2 $o --limit 32 --track --threads 2 --resume -o runs/original
row 0 $o --limit 64 --track $one --resume -o runs/original --json
row 137 killed_at "'runs/original-killed/checkpoints/*'" $o --limit 64 --track --save-every 16 $one -o runs/original-killed
row 0 $o --limit 64 --track --save-every 16 $one --resume -o runs/original-killed --json
row 0 $o --limit 8 --shard 1/2 --no-check --latent-bits 20 --prior-bits 8 --initial-words 100000 $one -o runs/shard
row 2 $o --limit 8 --shard 2/2 -o none
row 2 $o --limit 8 --latent-bits 40 -o none
row 4 $d original --model m.safetensors --dataset npy:rgb.npy --steps 10 -o none

echo; echo "# Figures"
row 0 $d plot terms runs/vlb50 runs/rates runs/original --format png
row 0 $d plot rates runs/vlb50 runs/vlb10 runs/rates -o rates.png
row 0 $d plot rates --published all -o published.svg
row 4 $d plot rates runs/vlb50 -o rates.png
row 4 $d plot terms runs/tiny
row 2 $d plot rates -o none.svg

echo; echo "# The published network of CIFAR-10, with made-up weights"
row 0 "PYTHONPATH=\$fill python - <<'PYTHON'
import torch
from golden_fill import fill_weights
from nc_diffusion_bb.importers import described_by_recipe
from nc_diffusion_bb.unet import UNet

network = UNet(described_by_recipe('cifar10-vlb').architecture)
fill_weights(network, 'published')
torch.save(network.state_dict(), 'cifar10_uncond_vlb_50M_500K.pt')
PYTHON"
row 0 peak $d import-checkpoint cifar10_uncond_vlb_50M_500K.pt --dataset folder:files/cifar10-subset/train -o published.safetensors
mkdir photos && cp files/cifar10-subset/train/1.png files/cifar10-subset/train/101.png photos
p="$d compress --model published.safetensors $one --steps 4"
row 0 peak $p photos --lead-in none -o photos.ncz
row 0 peak $d decompress photos.ncz --model published.safetensors -o restored-photos $one
row 0 'python -c "
import numpy as np
from PIL import Image
for name in (\"1.png\", \"101.png\"):
    one, other = (np.asarray(Image.open(f\"{folder}/{name}\")) for folder in (\"photos\", \"restored-photos\"))
    print(name, one.shape, (one == other).all())
    assert (one == other).all()
"'

echo; echo "# Contracts"
row 0 nc plugin check diffusion-bb

end_of_rows
