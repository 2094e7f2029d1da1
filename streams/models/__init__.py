"""The messages of every topic: frozen pydantic models that import nothing but each other."""
