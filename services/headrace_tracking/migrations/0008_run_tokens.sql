-- A number for a param (kind "p") or a tag ("t") of a run of one experiment. Two may have the same: what is found by
-- it is compared as well.
CREATE FUNCTION search_token(tenant_id text, experiment_id bigint, kind text, key text, value text) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN hashtextextended(
        value, hashtextextended(key, hashtextextended(tenant_id || '/' || experiment_id::text || '/' || kind, 0))
    );

CREATE FUNCTION search_tokens(tenant_id text, experiment_id bigint, params jsonb, tags jsonb) RETURNS bigint[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    -- Dear to the planner: for the index to find, never to compute row by row.
    COST 10000
    RETURN ARRAY(
        SELECT search_token(tenant_id, experiment_id, 'p', p.key, p.value) FROM jsonb_each_text(params) AS p
        UNION ALL
        SELECT search_token(tenant_id, experiment_id, 't', t.key, t.value) FROM jsonb_each_text(tags) AS t
    );

-- Equality on params and tags, any number of them, of one experiment: the indexes before it found the runs of all
-- experiments and tenants that have the same param. No list of pending rows, which every search would read whole.
CREATE INDEX runs_by_tokens ON runs USING gin (search_tokens(tenant_id, experiment_id, params, tags))
    WITH (fastupdate = off);
DROP INDEX runs_by_params;
DROP INDEX runs_by_tags;
