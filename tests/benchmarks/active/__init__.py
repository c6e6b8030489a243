"""Does choosing patients pay? Hidden studies beside one-shot random labels, at equal ε and equal mean labels."""
