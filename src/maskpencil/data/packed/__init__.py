"""Unpack archives, parquet files and Hugging Face data sets."""
