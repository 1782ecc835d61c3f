"""What training costs, and what the tightness regularizers bring."""
