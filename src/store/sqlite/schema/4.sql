-- Between which numbers a value lies: NULL where there is no standard error, and in readings of before.
ALTER TABLE readings ADD COLUMN interval_low REAL;
ALTER TABLE readings ADD COLUMN interval_high REAL;
-- 0.95.
ALTER TABLE readings ADD COLUMN interval_level REAL;

DROP VIEW readings_labelled;
DROP VIEW readings_latest;

-- Readings with their parts spelled out. Of several attempts at a step only the last that was measured is here.
CREATE VIEW readings_latest AS
SELECT
    runs.id AS run_id,
    readings.sequence,
    readings.step,
    readings.attempt,
    readings.measure,
    readings.probe_group,
    json_extract(runs.measures, '$[' || readings.place || '].parameters') AS parameters,
    readings.outcome,
    readings.value,
    readings.stderr,
    readings.interval_low,
    readings.interval_high,
    readings.interval_level,
    json_extract(readings.detail, '$.mean') AS mean,
    json_extract(readings.detail, '$.min') AS min,
    json_extract(readings.detail, '$.max') AS max,
    json_extract(readings.detail, '$.reason') AS reason,
    readings.seconds,
    readings.forwards,
    readings.backwards,
    readings.passes,
    readings.operations,
    readings.detail,
    readings.run
FROM readings
JOIN runs ON runs.number = readings.run
WHERE readings.attempt = (
    SELECT max(snapshots.attempt) FROM snapshots
    WHERE snapshots.run = readings.run AND snapshots.step = readings.step AND snapshots.state = 'measured'
);

-- The same with what is known of their runs: one wide table.
CREATE VIEW readings_labelled AS
SELECT
    readings_latest.run_id,
    runs.name AS run_name,
    runs.project,
    runs.experiment,
    runs.tags,
    runs.model_type,
    readings_latest.sequence,
    readings_latest.step,
    readings_latest.attempt,
    readings_latest.measure,
    readings_latest.probe_group,
    readings_latest.parameters,
    readings_latest.outcome,
    readings_latest.value,
    readings_latest.stderr,
    readings_latest.interval_low,
    readings_latest.interval_high,
    readings_latest.interval_level,
    readings_latest.mean,
    readings_latest.min,
    readings_latest.max,
    readings_latest.reason,
    readings_latest.seconds,
    readings_latest.forwards,
    readings_latest.backwards,
    readings_latest.passes,
    readings_latest.operations,
    readings_latest.detail
FROM readings_latest
JOIN runs ON runs.number = readings_latest.run;
