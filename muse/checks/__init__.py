"""Is it whole?"""
