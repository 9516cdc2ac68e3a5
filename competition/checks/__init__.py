"""What may spoil a competition, checked before training."""
