"""What actually runs a job: engine verbs only."""
