"""Running a checkpoint on a case, on whatever device there is."""
