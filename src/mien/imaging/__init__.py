"""Pictures in, pictures out: decoding, operations, faces, restoration, and the chain of named steps."""
