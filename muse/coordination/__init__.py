"""Who may work where? Reservations and intents."""
