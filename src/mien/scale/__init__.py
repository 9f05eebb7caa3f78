"""The same work on all machines of a Ray cluster, or on all cores of this one; every file is on storage they share."""
