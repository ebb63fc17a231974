"""What the experiments share: a run from start to end, its options, pictures and reports."""
