#!/usr/bin/env bash
# Every program and option of RD-sandwich's vector half as its command here, on reduced sizes.
#
#   bench/rd_programs.sh SHARED [WORK] > bench/results/rd-programs.txt
#
# SHARED holds `data/rd-sources` and `data/mnist`; WORK is an empty folder (a temporary one if not
# given). `nc` is the one that PATH finds, with nc-rd-bounds, matplotlib and tensorboard. Rows that
# end in another exit code than the expected one are counted.
set -uo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/rows.sh"
start_rows "$1" "${2:-$(mktemp -d)}"
ln -sfn "$shared/data/rd-sources" files

# What takes the original minutes and hours is reduced by these; the rest is as published.
upper="--set training.duration=100 --set training.evaluate_every=50 --set training.checkpoint_every=50 --set validation_batches=2 --threads 1 --force"
lower="--set training.duration=20 --set training.batch_size=64 --set training.checkpoint_every=10 --threads 1 --force"
measure="-k 64 -M 3"
u="nc run rd-bounds train-upper"
l="nc run rd-bounds train-lower"

echo "# Sources"
row 0 nc run rd-bounds prepare gaussian-params --dim 1000 -o gaussian_params-dim=1000.npz
row 0 nc run rd-bounds prepare gaussian-params --dim 2 --seed 3 --loc zeros --var ones -o plain.npz
row 0 nc run rd-bounds prepare physics --from files/physics
row 0 nc run rd-bounds prepare speech --from files/speech/fsdd-theo-wav.zip
row 0 nc data prepare mnist --from "$shared/data/mnist"
row 0 'python -c "import numpy as np; np.save(\"x.npy\", np.random.default_rng(0).normal(size=(20000, 2)).astype(\"f4\"))"'
cat > toy_generator.py <<'PYTHON'
"""A generator with the interface of the published one: z, one-hot class, truncation -> images."""

import numpy as np


class Toy:
    latent_dims, classes, shape = 128, 1000, (16, 16, 3)

    def __init__(self):
        rng = np.random.default_rng(0)
        self.z, self.y = (rng.normal(size=(n, 16 * 16 * 3)).astype("f4") / 4 for n in (128, 1000))

    def __call__(self, z, y, truncation):
        return np.tanh(z @ self.z + y @ self.y).reshape(-1, *self.shape)


load = Toy
PYTHON
export PYTHONPATH=.
row 0 nc run rd-bounds sample-images --generator toy_generator:load -c 253 -d 2 -n 4 -o samples

echo; echo "# Blahut-Arimoto"
row 0 nc run rd-bounds blahut-arimoto --dataset npy:files/banana/banana-dim=2-samples=100000.npy --bins 80 --lamb 3 --lamb 30 --steps 2000 --tol 1e-5 -o ba-banana
row 0 nc run rd-bounds blahut-arimoto --dataset physics-2d:test --bins 60 --lamb 3000 --steps 2000 --tol 1e-5
row 0 nc run rd-bounds blahut-arimoto --dataset speech-2d:test --bins 50 --lamb 3 --steps 2000 --tol 1e-5
row 0 nc run rd-bounds blahut-arimoto --dataset npy:x.npy --bins 50 --lamb 3 --json

echo; echo "# Upper bound"
row 0 $u --recipe upper-banana --lamb 3 $upper --evaluate -o upper-banana
for prior in deep std_gaussian gmm_3 gsm_2 lmm_2 lsm_2; do row 0 $u --recipe upper-banana --lamb 3 --set model.prior=$prior --set model.maf_stacks=0 $upper -o upper-$prior; done
row 0 $u --recipe upper-banana --lamb 3 --set model.posterior=iaf --set model.iaf_stacks=2 --set model.flow_units=[7] --set model.flow_activation=tanh $upper -o upper-iaf
row 0 $u --recipe upper-banana --lamb 3 --set model.encoder_activation=gdn --set model.decoder_activation=igdn --set model.latents=1 --set learning_rate=1e-4 $upper -o upper-gdn
row 0 $u --recipe upper-banana --lamb 3 --set model.decoder_units=null $upper -o upper-no-decoder
row 0 $u --recipe upper-banana --lamb 3 --set unit=bits --set per_dimension=true --set training.seed=3 --set training.batch_size=512 --logger tensorboard $upper -o upper-bits
row 0 $u --recipe upper-banana-ntc --lamb 3 $upper --evaluate -o upper-ntc
row 0 $u --recipe upper-banana-ntc --lamb 3 --set model.prior=lsm_2 $upper -o upper-ntc-mixture
for source in gaussian-1000 gaussian-1000-nodecoder physics physics-ntc physics-2d physics-2d-ntc speech speech-ntc speech-2d speech-2d-ntc banana-4 banana-16; do
    row 0 $u --recipe upper-$source $upper --set training.batch_size=64 -o upper-$source
done
row 0 nc run rd-bounds evaluate-upper upper-banana --batches 10 --json
row 0 nc run rd-bounds evaluate-upper upper-ntc --batches 10 --rounded --file
row 2 $u --recipe upper-banana-ntc --set model.prior=maf $upper -o refused
row 2 $u --recipe upper-banana --set model.prior=gaus $upper -o refused

echo; echo "# Lower bound"
row 0 $l --recipe lower-banana --lamb 3 $lower -o lower-banana
row 0 $l --recipe lower-banana --lamb 3 $lower --initial lower-banana -o lower-initial
row 0 $l --recipe lower-banana --lamb 3 $lower --set climb.start=exhaustive --set climb.steps=200 --set climb.lr=2e-2 --set climb.tol=1e-5 --set climb.chunk=16 --set minibatches=1 --set beta=0 --set max_delta=0.5 --set decay=false --logger tensorboard -o lower-options
row 0 $l --recipe lower-banana $lower --set anneal.targets=[1,3,10] --set anneal.ready=2 -o lower-annealed
for source in gaussian gaussian-4 gaussian-8 gaussian-16 physics physics-2d speech speech-2d banana-4 banana-16; do
    row 0 $l --recipe lower-$source $lower --set network.units=[50,50,50] -o lower-$source
done
row 0 $l --recipe lower-gan-images --dataset "'gan-images?generator=toy_generator:load&d=2'" $lower --set anneal.targets=[50,100] --set anneal.ready=2 --set network.units=[2,3,8] --set network.kernels=[5,3] -o lower-gan
row 0 $l --recipe lower-image-crops --dataset "'image-crops?of=mnist&side=12'" --lamb 50 $lower --set anneal=null --set network.units=[2,3,8] --set network.kernels=[5,3] -o lower-crops
row 0 nc run rd-bounds evaluate-lower lower-banana lower-annealed $measure --seed 0 --seed 1
row 0 nc run rd-bounds evaluate-lower lower-banana $measure --refine --json

echo; echo "# Curves"
row 0 'nc run rd-bounds analytic --dataset "gaussian?params=gaussian_params-dim=1000.npz" --lamb 2079.44'
row 0 nc run rd-bounds analytic --dataset banana --lamb 3 --lamb 30
row 2 nc run rd-bounds plot ba-banana upper-banana -o refused.svg
row 0 nc run rd-bounds plot ba-banana upper-banana lower-banana --dataset banana --dataset npy:banana-dim=2-samples=100000.npy -o curves.svg
row 0 nc run rd-bounds plot upper-banana upper-ntc lower-banana --unit bits --per dimension --peak 10 -o curves-psnr.png
row 0 'nc sweep -o sweep --grid lamb=1,3,10 --jobs 2 -- run rd-bounds blahut-arimoto --dataset banana --lamb {lamb} --json'
row 0 nc run rd-bounds sandwich --dataset npy:x.npy --lamb 3 --method analytic --method blahut-arimoto --jobs 2 -o mine

end_of_rows
