"""The Celery application, its thin task, and what keeps jobs going when processes die.

Importing the package, or `worker.app` and `worker.inspector`, loads no torch: the process that
serves HTTP uses them to send ids and to have files looked at.
"""
