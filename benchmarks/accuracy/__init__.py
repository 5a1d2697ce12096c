"""Parts of cifar10_accuracy.py: the data, one row, the table."""
