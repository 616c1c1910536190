"""The benchmarks in short runs: they complete, and they report what fails."""
