-- The least and the greatest value of each series, NaN left out: NULL where there is none, and where the series began
-- before they were kept. A writer of an older version, while both run, leaves them as they are.
ALTER TABLE metric_latest
    ADD COLUMN has_extremes boolean NOT NULL DEFAULT false,
    ADD COLUMN least double precision,
    ADD COLUMN greatest double precision;
COMMENT ON COLUMN metric_latest.has_extremes IS 'kept since the first point of the series';
