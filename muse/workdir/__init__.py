"""How do files in a directory and a session meet?"""
