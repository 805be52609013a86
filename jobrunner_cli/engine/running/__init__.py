"""The loop that moves jobs: it brings scheduling, job files and executors together."""
