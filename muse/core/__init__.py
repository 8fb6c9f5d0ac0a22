"""What is the op log?"""
