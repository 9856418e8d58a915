"""Training: one loop, its schedules and checkpoints, the losses of distillation, mild augmentation."""
