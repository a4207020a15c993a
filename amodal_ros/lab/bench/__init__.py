"""`amodal bench`: speed and memory of models, also of ones whose weights are not here."""
