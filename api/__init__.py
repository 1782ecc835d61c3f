"""The HTTP service.

Its process imports the store and sends ids to the queue; it loads no torch, no model and no
solver. `api.app.create_app` assembles it.
"""
