"""Where tasks run: this machine's cores and GPUs, or a Dask cluster."""
