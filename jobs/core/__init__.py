"""What all rooms share: contracts, the lake, settings, the command line. Knows nothing of a single stage."""
