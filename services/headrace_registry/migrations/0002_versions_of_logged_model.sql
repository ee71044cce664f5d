-- Who asks whether a logged model is in use: the artifacts service, before it deletes the files of one that was purged.
CREATE INDEX versions_of_logged_model ON versions (tenant_id, model_id);
