"""What mask files hold, and how that stands for classes."""
