"""Writing demonstrations as a LeRobot data set."""
