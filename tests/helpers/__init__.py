"""Generators and small builders that tests share."""
