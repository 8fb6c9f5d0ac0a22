"""What can a client ask the server?"""
