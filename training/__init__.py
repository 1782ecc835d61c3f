"""Certified training: losses from the bound engine, tightness regularizers, schedules, the loop."""
