"""What is measured on the artefact itself: accuracy and latency."""
