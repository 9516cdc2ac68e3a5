"""`Predictions` of several members, combined into a `Blend`."""
