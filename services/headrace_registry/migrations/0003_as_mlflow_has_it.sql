-- What MLflow's clients say of a version: where its files came from, which run's page that is, and its stage: None, Staging,
-- Production or Archived. A version whose files are not in Headrace has no logged model, and a source alone.
ALTER TABLE versions ADD COLUMN source text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE versions ADD COLUMN run_link text NOT NULL DEFAULT '';
ALTER TABLE versions ADD COLUMN stage text COLLATE "C" NOT NULL DEFAULT 'None';
