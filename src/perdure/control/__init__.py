"""The one door for other processes: requests as files, read and answered by whoever drives the experiment."""
