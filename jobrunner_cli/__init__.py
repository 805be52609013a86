"""jobrunner runs the actions of a study in locked-down containers and keeps what they promise."""
