"""What the service remembers: tables, content-addressed files, and the moves a job may make.

The database is the truth; a queue only carries ids. Nothing here imports torch, the solvers or a
web framework.
"""
