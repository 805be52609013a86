"""The table of jobs: stored classes, migrations, named questions, intents and locks."""
