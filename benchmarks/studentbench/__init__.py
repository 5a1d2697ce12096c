"""Parts of students_throughput.py."""
