"""Model interface, registry and implementations."""
