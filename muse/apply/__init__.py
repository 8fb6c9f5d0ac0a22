"""How do ops become files?"""
