"""What `amodal complete` and `amodal models` do beyond the rooms that they call."""
