"""What may go? Archives, and what nothing needs any more."""
