"""Whether everything is there that jobs need, looked at without changing anything."""
