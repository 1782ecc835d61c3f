"""What measures speed and strength. Prints tables; never asserts on time."""
