"""What one process of the suite consists of, whatever services it hosts."""
