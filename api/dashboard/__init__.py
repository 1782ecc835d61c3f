"""Pages for people: rendered here, readable without scripts, kept up to date by one."""
