"""Many patients: found below a folder, segmented on this machine or a cluster, each with a record of its outcome."""
