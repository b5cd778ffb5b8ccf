"""Pure functions under the model: attention, dropout, CRF, masking."""
