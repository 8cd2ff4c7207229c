"""What every wrapper of a LangGraph object needs, whatever it wraps."""
