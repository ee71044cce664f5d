-- Charts: what the points of a chunk come to, by intervals of steps and of time; see bins.py for the bytes.
-- NULL in chunks of few points, and in those that an older release wrote: they are unpacked instead.
ALTER TABLE metric_chunks
    ADD COLUMN min_step bigint,
    ADD COLUMN max_step bigint,
    ADD COLUMN step_shift smallint,
    ADD COLUMN step_bins bytea,
    ADD COLUMN coarse_step_shift smallint,
    ADD COLUMN coarse_step_bins bytea,
    ADD COLUMN time_shift smallint,
    ADD COLUMN time_bins bytea,
    ADD COLUMN coarse_time_shift smallint,
    ADD COLUMN coarse_time_bins bytea,
    -- Compressed already.
    ALTER COLUMN step_bins SET STORAGE EXTERNAL,
    ALTER COLUMN time_bins SET STORAGE EXTERNAL,
    -- In the row itself, where a chart of thousands of chunks finds them.
    ALTER COLUMN coarse_step_bins SET STORAGE MAIN,
    ALTER COLUMN coarse_time_bins SET STORAGE MAIN;
