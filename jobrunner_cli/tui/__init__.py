"""The live view of the jobs on a terminal: widgets that show what threads read, and what an operator can do about it."""
