"""The study's side: its git repository and its project.yaml."""
