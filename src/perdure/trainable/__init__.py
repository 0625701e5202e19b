"""What runs inside a trial: trainables, the session behind `report`, and the worker that runs an attempt."""
