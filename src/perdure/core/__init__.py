"""The pure heart of perdure: events in, state and commands out. No clock, no files, no threads, no randomness."""
