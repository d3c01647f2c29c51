"""From images and masks to a network: configuration, recipes, losses, the loop, and what a run leaves behind."""
