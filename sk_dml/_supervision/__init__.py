"""What y may be, and which samples are positive and negative for each other."""
