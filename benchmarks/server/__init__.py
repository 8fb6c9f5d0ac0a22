"""The live server under load: latencies, losses, memory, fairness, and requests a second."""
