#!/usr/bin/env bash
# From an empty folder to a multilingual encoder, on a CPU, in minutes.
#
#   bash quickstart.sh            the story (4 to 5 minutes on 2 cores)
#   bash quickstart.sh --fast     the same commands, a few steps each
#
# Each part is what a real run types; only the data and the sizes are small.
set -euo pipefail
export OUT=${OUT:-runs/quickstart}
# A model this small is fastest on one thread, with memory that is kept.
export XLA_FLAGS='--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1'
export MALLOC_MMAP_THRESHOLD_=4000000000 MALLOC_TRIM_THRESHOLD_=8000000000
if [ "${1:-}" = --fast ]; then
  export SIZE=fast STEPS=12 EPOCHS=1
fi

## 1. A small world
# Eight real languages, made-up sentences: text to pretrain on, translation
# pairs, and three tasks in the files that people have: intents as TSV, tagged
# words as UDPOS has them, and sentences to find, as Tatoeba has them. English
# has training examples; nobody else has.
xlmr toy "$OUT/world" --size="${SIZE:-quick}" --seed="${SEED:-0}"

## 2. A vocabulary
# SentencePiece, unigram, under XLM-R's ids.
xlmr tokenizer --input="$OUT/world/corpus/*.txt" \
  --vocab_size=3072 --seed_from_frequency --nohard_vocab_limit \
  --character_coverage=1.0   --output="$OUT/tokenizer"

## 3. Pretraining
# Masked language modelling on text in eight languages and on translation pairs.
# Held-out loss per language stands beside the entropy of the language's own
# token frequencies.
python -m xlmr_jax.train --config=configs/pretrain.py:model=tiny \
  --config.corpus="$OUT/world/corpus" --config.parallel="$OUT/world/parallel" \
  --config.tokenizer="$OUT/tokenizer" --config.steps="${STEPS:-5000}" \
  --config.seed="${SEED:-0}" --workdir="$OUT/pretrained"

## 4. Fine-tuning, in English only
# Intents (what does the user want?) and tags (which words say who, where and
# when?).
python -m xlmr_jax.train --config=configs/finetune.py:task=intents,model=tiny \
  --config.init="$OUT/pretrained" --config.data_dir="$OUT/world/intents" \
  --config.train=train-en.tsv --config.dev=dev-en.tsv \
  --config.epochs="${EPOCHS:-3}" --config.seed="${SEED:-0}" \
  --workdir="$OUT/intents/pretrained"
python -m xlmr_jax.train --config=configs/finetune.py:task=tags,model=tiny \
  --config.objective=tag \
  --config.init="$OUT/pretrained" --config.data_dir="$OUT/world/tags" \
  --config.train=train-en.tsv --config.dev=dev-en.tsv \
  --config.epochs="${EPOCHS:-3}" --config.seed="${SEED:-0}" \
  --workdir="$OUT/tags/pretrained"

## 5. The same without pretraining
# What the scores are worth: the same data, sizes and steps from fresh
# parameters.
python -m xlmr_jax.train --config=configs/finetune.py:task=intents,model=tiny \
  --config.tokenizer="$OUT/tokenizer" --config.data_dir="$OUT/world/intents" \
  --config.train=train-en.tsv --config.dev=dev-en.tsv \
  --config.epochs="${EPOCHS:-3}" --config.seed="${SEED:-0}" \
  --workdir="$OUT/intents/fresh"
python -m xlmr_jax.train --config=configs/finetune.py:task=tags,model=tiny \
  --config.objective=tag \
  --config.tokenizer="$OUT/tokenizer" --config.data_dir="$OUT/world/tags" \
  --config.train=train-en.tsv --config.dev=dev-en.tsv \
  --config.epochs="${EPOCHS:-3}" --config.seed="${SEED:-0}" \
  --workdir="$OUT/tags/fresh"

## 6. Zero-shot scores
# Every language but English is one the fine-tuned model has no labelled
# example of. Beside each score: chance, the majority class, and the run
# without pretraining. Retrieval needs no labels: it takes the pretrained
# vectors as they are, beside those of a model that learned English intents
# only.
for start in fresh pretrained; do
  python -m xlmr_jax.eval --benchmark=intents \
    --test="$OUT/world/intents/test-{language}.tsv" \
    --checkpoint="$OUT/intents/$start" --output_dir="$OUT/intents/$start/eval" \
    ${beside:+--beside="no pretraining=$OUT/intents/fresh/eval/results.json"}
  python -m xlmr_jax.eval --benchmark=tags --metric=span_f1 \
    --test="$OUT/world/tags/test-{language}.tsv" \
    --checkpoint="$OUT/tags/$start" --output_dir="$OUT/tags/$start/eval" \
    ${beside:+--beside="no pretraining=$OUT/tags/fresh/eval/results.json"}
  beside=1
done
for checkpoint in intents/fresh pretrained; do
  python -m xlmr_jax.eval --benchmark=tatoeba --data_dir="$OUT/world/tatoeba" \
    --languages=ar,de,es,hi,ru,tr,zh --layer=1 \
    --checkpoint="$OUT/$checkpoint" --output_dir="$OUT/tatoeba/$checkpoint"
done
## 7. Losses
# Left the loss of pretraining, right that of each language's held-out text; the
# ticks are the entropy of its token frequencies.
xlmr curves "$OUT/pretrained" --output="$OUT/losses.png"

## 8. Scores
# All of them in one picture.
python - <<'PY'
import json
import os
import pathlib

from xlmr_jax.eval.suite import pictures

out = pathlib.Path(os.environ['OUT'])
scores = {}
for name, path in (
  ('intents', 'intents/pretrained/eval'),
  ('intents, no pretraining', 'intents/fresh/eval'),
  ('tags', 'tags/pretrained/eval'),
  ('tags, no pretraining', 'tags/fresh/eval'),
  ('retrieval', 'tatoeba/pretrained'),
  ('retrieval, no pretraining', 'tatoeba/intents/fresh'),
):
  results = json.loads((out / path / 'results.json').read_text())
  (scores[name],) = results['tasks'].values()
figure = pictures.heat(
  {
    'benchmark': 'quickstart',
    'checkpoint': 'labels in English only',
    'tasks': scores,
  }
)
figure.savefig(out / 'scores.png', dpi=150)
print(f'wrote {out}/scores.png')
figure
PY

## 9. To Hugging Face
# transformers loads the folder as it is.
xlmr convert "$OUT/pretrained" "$OUT/hf"

## 10. Filling masks
# The pretrained model, from the folder just written.
python - <<'PY'
import os

import xlmr_jax

model = xlmr_jax.load(os.environ['OUT'] + '/hf')
for text in (
  'The students won first <mask>.',
  'Die Studenten haben den ersten <mask> gewonnen.',
  'Los estudiantes ganaron el primer <mask>.',
  'Студенты выиграли первый <mask>.',
):
  best = ', '.join(f'{piece} {p:.2f}' for piece, p in model.fill_mask(text, 3))
  print(f'{text:55} {best}')
PY
