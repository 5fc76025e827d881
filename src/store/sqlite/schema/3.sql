-- What policies said of runs, where it was news, and what was taken back.
CREATE VIEW decisions AS
SELECT
    runs.id AS run_id,
    runs.name AS run_name,
    runs.project,
    runs.experiment,
    events.sequence,
    json_extract(events.body, '$.evaluated.step') AS step,
    json_extract(events.body, '$.evaluated.attempt') AS attempt,
    json_extract(events.body, '$.advice') AS advice,
    json_extract(events.body, '$.reason') AS reason,
    json_extract(events.body, '$.rule') AS rule,
    json_extract(events.body, '$.sentence') AS sentence,
    json_extract(events.body, '$.best[0].step') AS best_step,
    json_extract(events.body, '$.best[0].attempt') AS best_attempt,
    json_extract(events.body, '$.best[1]') AS best_value,
    json_extract(events.body, '$.peer_count') AS peer_count,
    json_extract(events.body, '$.mode') AS mode,
    json_extract(events.body, '$.overridden.reason') AS override_reason,
    json_extract(events.body, '$.overridden.by') AS override_by,
    json_extract(events.body, '$.id') AS decision_id,
    json_extract(events.body, '$.history_digest') AS history_digest,
    json_extract(events.body, '$.policy_digest') AS policy_digest,
    events.body AS detail
FROM events
JOIN runs ON runs.number = events.run
WHERE events.kind = 'decided';
