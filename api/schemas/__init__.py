"""What travels over the wire: one module per resource, unknown fields refused."""
