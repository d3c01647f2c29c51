"""Train the head of a network on cached features of its frozen backbone."""
