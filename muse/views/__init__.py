"""What was it, and who did it?"""
