"""The laboratory: what measures the product and shows it. Nothing of the product imports it."""
