#!/usr/bin/env bash
# SPHERE, its direct baselines and its ablations at one small budget: Tables 2, 3 and 5 of the paper.
#
#   STEPS=600 PATIENTS=10 training/compare.sh POOL FEATURES OUT
#
# POOL is a folder of make_slabs.py, FEATURES the bundle of train_features.py. All networks see the
# same slices, have as many parameters, and are trained with one learning rate for STEPS steps. Stop
# it and start it again: what is trained or measured stays.
set -euo pipefail
pool=$1 features=$2 out=$3
budget=(--data "$pool" --steps "${STEPS:-1200}" --threads "${THREADS:-1}" --precision bf16-mixed)
weigh=(--weigh l1=20 --weigh ssim=2 --weigh adversarial=0.02 --weigh bce=2)
training=$(dirname "${BASH_SOURCE[0]}")
python=${PYTHON:-python}

train_sphere() {
    "$python" "$training/train_sphere.py" "${budget[@]}" --features "$features" "${weigh[@]}" \
        --out "$out/$1" --name "$1" "${@:2}"
}
train_art() {
    "$python" "$training/train_sphere_art.py" "${budget[@]}" --batch 6 --sphere "$out/sphere/bundle" \
        --out "$out/$1" --name "$1" "${@:2}"
}
measure() {
    "$python" "$training/evaluate.py" --virtual "$1" --patients "${PATIENTS:-10}" \
        --corrupt motion --cache "$out/virtual" --csv "$out/comparison.csv" --table "sphere_$2" "${@:3}"
}

train_sphere sphere
train_sphere joint --schedule joint
train_sphere unet --network unet
train_sphere attention_unet --network attention_unet
train_sphere unet_plus_plus --network unet_plus_plus
train_sphere no_hyperintensity --without hyperintensity
train_sphere no_segmentation --without segmentation
train_sphere no_autoencoder --without autoencoder
train_art sphere_art
train_art r2_attention_unet --network r2_attention_unet

row() { echo --row "$1=$2:$out/$1/bundle"; }
art=sphere_art:sphere=$out/sphere/bundle+sphere_art=$out/sphere_art/bundle
for kind in same different; do
    # shellcheck disable=SC2046
    measure "$kind" 2 $(row sphere sphere) $(row unet sphere) $(row attention_unet sphere) \
        $(row unet_plus_plus sphere) --row physics_pre=physics_pre --row clamp=clamp \
        --row nothing=nothing --row reachable=reachable
    # shellcheck disable=SC2046
    measure "$kind" 3 --row sphere_art="$art" $(row sphere sphere) \
        $(row r2_attention_unet sphere_art) --row corrupted=corrupted --row nothing=nothing
    # shellcheck disable=SC2046
    measure "$kind" 5 $(row sphere sphere) $(row unet_plus_plus sphere) \
        $(row no_hyperintensity sphere) $(row no_segmentation sphere) \
        $(row no_autoencoder sphere) $(row joint sphere)
done
