"""What tests, benches and the demo need beyond the services; no service imports it."""
