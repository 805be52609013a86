"""The commands: one file each; they parse, call the engine and show."""
