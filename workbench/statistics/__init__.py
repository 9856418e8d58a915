"""What layers read and what errors of their outputs cost, collected while a network runs on calibration images."""
