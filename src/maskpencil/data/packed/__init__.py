"""Data that is packed in a file: archives, parquet files, Hugging Face data sets."""
