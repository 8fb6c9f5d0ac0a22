"""How do we touch files? The only folder that opens one."""
