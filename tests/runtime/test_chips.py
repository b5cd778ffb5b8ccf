"""Chips: the peak that MFU is measured by."""

import pytest

from xlmr_jax.runtime import chips


def test_peak_goes_by_the_longest_name():
  assert chips.peak_flops('TPU v5 lite') == 197e12
  assert chips.peak_flops('TPU v5') == 459e12
  h200 = chips.peak_flops('NVIDIA H200')
  assert h200 == chips.peak_flops('NVIDIA H100 80GB HBM3') == 989e12
  assert chips.peak_flops('NVIDIA A100-SXM4-40GB') == 312e12
  assert chips.peak_flops('cpu') is None


@pytest.mark.parametrize(
  'kind, peak',
  [
    ('NVIDIA H100 PCIe', 756e12),
    ('NVIDIA H100 NVL', 835e12),
    ('NVIDIA H200 NVL', 835e12),
    ('NVIDIA L4', 121e12),
    ('NVIDIA L40', 181e12),
    ('NVIDIA L40S', 362e12),
    # Another chip, or a part of one: a wrong MFU is worse than none.
    ('NVIDIA L40G', None),
    ('NVIDIA H100 80GB HBM3 MIG 1g.10gb', None),
  ],
)
def test_boards_of_one_name_have_peaks_of_their_own(kind, peak):
  assert chips.peak_flops(kind) == peak
