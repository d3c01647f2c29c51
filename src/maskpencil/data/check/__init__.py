"""The doctor: what is wrong with a data set, where, and what to do."""
