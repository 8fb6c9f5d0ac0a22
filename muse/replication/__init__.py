"""How do two copies meet?"""
