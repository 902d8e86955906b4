"""What measures, fits or compares rather than trains; each is a command."""
