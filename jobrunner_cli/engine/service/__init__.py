"""What a runner does besides running jobs: keeping a job-server told and asked."""
