"""One stored row: its values as found, taken apart, and every rule about it. Knows neither LangGraph's tuples nor SQL."""
