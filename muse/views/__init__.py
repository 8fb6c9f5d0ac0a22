"""What was it, and which actor did it?"""
