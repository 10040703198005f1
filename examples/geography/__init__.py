"""The main job, end to end: a frozen classifier names the country of cities that it has never seen."""
