#!/usr/bin/env bash
# Every program of Bit-Swap's and BB-ANS's repositories as its command here, on reduced sizes.
#
#   bench/programs.sh SHARED [WORK] > bench/results/programs.txt
#
# SHARED holds `data` (official files) and `golden/bitswap` (weights, and files of the originals);
# WORK is an empty folder (a temporary one if not given). `nc` is the one that PATH finds, with
# nc-bitswap and the extras `classical`, `plots` and tensorboard. Each row is what a user types; rows
# that end in another exit code than the expected one are counted.
set -uo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/rows.sh"
start_rows "$1" "${2:-$(mktemp -d)}"
ln -sfn "$shared/data" files && ln -sfn "$shared/golden/bitswap" weights
sample=files/imagenet-sample

# The numbers that the originals need hours for are reduced by these; the rest is as published.
brief="--set training.duration=2 --set training.evaluate_at_start=false --threads 1 --force"
small="--set model.hidden=8 $brief --set training.batch_size=16 --set bins.samples_per_bin=1"

echo "# Data"
row 0 nc run bitswap prepare mnist --from files/mnist
row 0 nc run bitswap prepare cifar10 --from files/cifar10-format-standin
row 0 nc run bitswap prepare imagenet32 --from files/imagenet32-sample
row 0 nc run bitswap prepare imagenet-crops --from $sample/train --test 50
python - <<'PYTHON'
import numpy as np
from nc_core import open_dataset

digits = open_dataset("mnist:test")
np.save("digits.npy", np.stack([digits[i]["image"] for i in range(320)]))
PYTHON
digits="--set data.train=npy:digits.npy --set data.test=npy:digits.npy"

echo; echo "# Bit-Swap: training"
for nz in 1 2 4 8; do row 0 nc run bitswap train --recipe mnist-nz$nz $small $digits --out mnist-nz$nz; done
for nz in 1 2 4 8; do row 0 nc run bitswap train --recipe cifar10-nz$nz $small --set model.latent_channels=2 --out cifar10-nz$nz; done
for nz in 1 2 4; do row 0 nc run bitswap train --recipe imagenet32-nz$nz $small --set model.latent_channels=2 --out imagenet32-nz$nz; done
row 0 nc run bitswap train --recipe imagenetcrop-nz4 $small --set model.latent_channels=2 \
    --set data.train=folder:data/imagenet-crops/train --set data.test=crops:data/imagenet-crops/test --out crops
row 0 nc run bitswap train --recipe mnist-nz2-tiny $small $digits --devices 2 --out two-processes
row 0 nc run bitswap train --recipe mnist-nz2-tiny $small $digits --set model.dropout=0.1 --set model.kernel_size=5 \
    --set learning_rate.start=1e-3 --set learning_rate.decay=1 --set training.seed=3 --set training.log_every=1 --set training.evaluate_every=1 \
    --logger tensorboard --device cpu --out options
row 0 'ls options | sort'

echo; echo "# Bit-Swap: coding"
row 0 nc run bitswap import-checkpoint weights/encode_run_mnist_nz2.model.safetensors -o tiny.safetensors
row 0 nc run bitswap import-checkpoint weights/model_cifar_nz2.warm.safetensors -o colour.safetensors --bits 8
row 0 nc run bitswap import-checkpoint weights/model_imagenetcrop_nz4.warm.safetensors -o crop.safetensors \
    --dataset crops:$sample/train --bits 8
row 0 nc run bitswap experiment --model tiny.safetensors --bits 10 --bits 8 --experiments 4 --decode --out experiment
row 0 nc run bitswap experiment --model colour.safetensors --dataset cifar10:test --experiments 2 --images 8 --decode --out experiment-cifar10
row 0 nc run bitswap experiment --model colour.safetensors --dataset imagenet32:test --order bit-swap --experiments 2 --images 8 --out experiment-imagenet32
row 0 nc run bitswap experiment --model tiny.safetensors --bits 10 --bits 8 --experiments 6 --decode --out experiment --resume
row 0 nc run bitswap benchmark-images $sample/val --limit 3 --model crop.safetensors
row 0 nc run bitswap benchmark-images $sample/val --limit 3
row 0 nc run bitswap benchmark --dataset mnist:test --experiments 10
row 0 nc run bitswap benchmark --dataset cifar10:test --experiments 2 --images 50
row 0 nc run bitswap plot cma experiment --published mnist-nz2 -o cma.svg
row 0 nc run bitswap plot cma --published all -o cma-published.svg
row 0 nc run bitswap plot stack options --published all -o stack.svg
row 0 nc run bitswap plot terms options -o terms.svg
row 0 nc compress files/kodak/kodim23.png -o photo.ncz
row 0 nc decompress photo.ncz -o restored
row 0 'python -c "import numpy, PIL.Image as i; a, b = (numpy.asarray(i.open(f)) for f in (\"files/kodak/kodim23.png\", \"restored/kodim23.png\")); print(\"equal\" if (a == b).all() else \"DIFFERENT\")"'
row 0 nc run bitswap legacy pack $sample/val/n02110806_basenji.png --model crop.safetensors -o basenji_bitswap.npy
row 0 nc run bitswap legacy unpack basenji_bitswap.npy --model crop.safetensors -o basenji.png
row 0 nc compress $sample/val/n02110806_basenji.png --model crop.safetensors -o basenji.ncz
row 0 nc compare $sample/val/n02110806_basenji.png --model crop.safetensors --model bitswap-photo

echo; echo "# BB-ANS"
row 0 nc run bitswap train --recipe bbans-mnist $brief $digits --out bbans
row 0 nc run bitswap train --recipe bbans-mnist-binary $brief $digits --out bbans-binary
row 0 nc run bitswap train --recipe bbans-mnist-rounded $brief $digits --out bbans-rounded
for name in beta_binomial_50 binary_random_40 binary_20; do
    row 0 nc run bitswap import-checkpoint weights/bbans_$name.safetensors -o $name.safetensors
done
row 0 nc compress --dataset mnist:test --limit 1000 --model beta_binomial_50.safetensors -o grey.ncz
row 0 'nc compress --dataset "mnist:test?binarize=random" --limit 1000 --model binary_random_40.safetensors -o drawn.ncz'
row 0 'nc compress --dataset "mnist:test?binarize=threshold" --limit 1000 --model binary_20.safetensors -o rounded.ncz'
for name in grey drawn rounded; do row 0 nc decompress $name.ncz -o $name; done
row 0 nc run bitswap evaluate --model beta_binomial_50.safetensors --limit 1000
row 0 nc run bitswap benchmark --protocol bb-ans
row 0 nc run bitswap plot digits --limit 20 -o digits.svg
row 0 nc compare experiment grey.ncz drawn.ncz --plot rates.svg

end_of_rows
