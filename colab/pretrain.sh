#!/usr/bin/env bash
# Pretraining, from text to a plan for a pod, on a CPU in minutes.
#
#   bash colab/pretrain.sh
#
# Run it from the repository's root. colab/pretrain.ipynb is made from it.
set -euo pipefail
export OUT=${OUT:-runs/pretrain}

## 1. Text
# Eight languages of made-up sentences, and translation pairs. Your own text
# comes as <language>.txt or .jsonl (plain, .gz, .xz or .zst), a paragraph a line,
# blank lines between documents; from here on nothing changes.
xlmr toy "$OUT/world" --size="${SIZE:-quick}"

## 2. A vocabulary
# For the real one take that of FacebookAI/xlm-roberta-base. This one is small.
xlmr tokenizer --input="$OUT/world/corpus/*.txt" \
  --vocab_size=3072 --seed_from_frequency --nohard_vocab_limit \
  --character_coverage=1.0 --output="$OUT/tokenizer"

## 3. Shards
# Tokenised once, by all cores; shuffled; memory-mapped. The table tells what
# each language costs: many tokens per character mean that the vocabulary
# shreds it.
xlmr corpus --corpus="$OUT/world/corpus" \
  --parallel="$OUT/world/parallel" --tokenizer="$OUT/tokenizer" \
  --output="$OUT/shards"

## 4. A few hundred steps
# The table printed first says how often the run will go through each language.
# Interrupt the cell and run it again: it goes on where it stood.
STEPS=${STEPS:-400}
python -m xlmr_jax.train --config=configs/pretrain.py:model=tiny \
  --config.corpus="$OUT/shards" --config.tokenizer="$OUT/tokenizer" \
  --config.steps="$STEPS" --config.eval_every="$((STEPS / 4))" \
  --config.log_every="$((STEPS / 40 + 1))" --workdir="$OUT/run"

## 5. Curves
# Held-out loss in each language; a tick at the right margin is where knowing
# nothing but the language's token frequencies would be.
python - <<'PY'
import os

from xlmr_jax.training import curves

figure = curves.draw([os.environ['OUT'] + '/run'])
figure.savefig(os.environ['OUT'] + '/curves.png')
figure
PY

## 6. What a pod would make of it
# XLM-R base, on eight GPUs: will it fit, how fast can it be at best, what would
# it cost at 2 (of your currency) a GPU-hour? For GPUs this is arithmetic and the
# CPU compiler's memory analysis, an estimate.
python -m xlmr_jax.plan --config=configs/pretrain.py:model="${PLAN:-base}" \
  --topology=h100:8 --config.mesh='(8, 1, 1)' --tokens=1e11 --price=2

## 7. The same for a TPU pod
# With `pip install 'xlmr_jax[plan]'` (700 MB) the TPU's own compiler says it:
#
#     python -m xlmr_jax.plan --config=configs/pretrain.py:model=xl --topology=v5p:4x4x4
#
# docs/pods.md goes on from here.
echo 'docs/pods.md'
