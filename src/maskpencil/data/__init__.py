"""Images and masks: found, read, drawn, changed, batched."""
