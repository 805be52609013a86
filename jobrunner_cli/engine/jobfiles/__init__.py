"""The files of a job: code and inputs in, outputs and logs out."""
