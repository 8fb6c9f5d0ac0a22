"""A live performance: its players, its commits, its audience and its report."""
