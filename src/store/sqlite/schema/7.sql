-- JSON: whether the trainer's model computes what config_json says, with both losses; NULL until that was compared.
ALTER TABLE runs ADD COLUMN checked TEXT;

-- What came of each comparison of a trainer's model with its configuration. Beside readings, whose kind 'checked' it is.
CREATE VIEW model_checks AS
SELECT
    runs.id AS run_id,
    runs.name AS run_name,
    runs.project,
    runs.experiment,
    events.sequence,
    json_extract(events.body, '$.snapshot.step') AS step,
    json_extract(events.body, '$.snapshot.attempt') AS attempt,
    json_extract(events.body, '$.group') AS probe_group,
    json_extract(events.body, '$.rows') AS examples,
    json_extract(events.body, '$.trainer_loss') AS trainer_loss,
    json_extract(events.body, '$.configured_loss') AS configured_loss,
    json_extract(events.body, '$.difference') AS difference,
    json_extract(events.body, '$.tolerance') AS tolerance,
    json_extract(events.body, '$.agrees') AS agrees
FROM events
JOIN runs ON runs.number = events.run
WHERE events.kind = 'checked';
