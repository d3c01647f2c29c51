"""Train networks: settings and recipes, the trainer with its losses and optimizers, and the files of a run."""
