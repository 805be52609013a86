"""What jobrunner does, without any face: states, study, planning, scheduling, job files, executors, running."""
