"""Workspaces through gRPC ports: what is in one is seen in no other, and in no other tenant."""
