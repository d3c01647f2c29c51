"""Pictures and masks: found, read, drawn, changed, batched."""
