"""Parts of the BrainTumorSeg panel; a package, since the application takes every .py beside the module for a module."""
