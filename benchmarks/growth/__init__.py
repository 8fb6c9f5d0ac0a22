"""How the time and memory of whole commands grow with the length of what they work on."""
