"""The service: the loop and what is at work beside it, in step with a job-server, sampled, and watched from outside."""
